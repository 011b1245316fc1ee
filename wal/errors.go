package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"github.com/33god/bloodbank/wal/segment"
)

// What a caller can do about it: nothing (ErrClosed, ErrTooLarge, ErrInvalidRecord), free space and try again (ErrFull),
// fix the folder (ErrReadOnly), ask the holder (ErrLocked), start from First (ErrTruncated), look at the quarantine
// (ErrCorrupt), run a newer program (ErrVersion). Any other error of Append is a fault of the disk; the next append is
// tried on a new segment.
var (
	ErrClosed        = errors.New("the log is closed")
	ErrLocked        = errors.New("the log is in use")
	ErrTooLarge      = errors.New("record is too large")
	ErrFull          = errors.New("the disk is full: free some space and try again, nothing accepted was lost")
	ErrReadOnly      = errors.New("the folder cannot be written: give this user the right to write there, or choose another folder")
	ErrCorrupt       = errors.New("damaged bytes in the log")
	ErrTruncated     = errors.New("the log no longer holds this record")
	ErrInvalidRecord = errors.New("a record must be one line: not empty, no line feed, no carriage return")
	ErrVersion       = segment.ErrVersion
)

// LockedError says who holds the log. It matches [ErrLocked].
type LockedError struct {
	Dir   string
	PID   int    // 0 when the holder has not written it yet
	Owner string // what the holder calls itself
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%v: %s is held by another process", ErrLocked, e.Dir)
	}
	return fmt.Sprintf("%v: %s is held by process %d (%s); stop it or go through it", ErrLocked, e.Dir, e.PID, e.Owner)
}

// Is makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// classify puts the sentinel that tells what to do in front of an error of the file system.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, io.ErrShortWrite):
		return fmt.Errorf("%w (%w)", ErrFull, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w (%w)", ErrReadOnly, err)
	}
	return err
}
