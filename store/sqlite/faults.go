package sqlite

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/33god/bloodbank"
)

// explain turns a fault of the driver or the file system into an error that
// says what to do. What already is a [bloodbank.Error] passes.
func explain(path, doing string, err error) error {
	var known *bloodbank.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return bloodbank.Errorf(bloodbank.CodeTimeout, "could not %s %s in the time given: %w", doing, path, err)
	}
	code, advice := advise(err)
	return bloodbank.Errorf(code, "cannot %s %s: %s: %w", doing, path, advice, err)
}

func advise(err error) (bloodbank.Code, string) {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return bloodbank.CodeStorageFull, "the disk is full; make room"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return bloodbank.CodeUnavailable, "no permission; check the owner and mode of the file and of its folder"
	case errors.Is(err, syscall.ENOTDIR):
		return bloodbank.CodeInvalid, "a part of the path is a file, not a folder; choose another path"
	}
	var fault *driver.Error
	if !errors.As(err, &fault) {
		return bloodbank.CodeInternal, "unexpected fault"
	}
	switch fault.Code() & 0xff {
	case lib.SQLITE_FULL:
		return bloodbank.CodeStorageFull, "the disk is full, or the file has reached its limit; make room"
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED, lib.SQLITE_PROTOCOL:
		return bloodbank.CodeUnavailable, "another process holds the file; stop it or try again"
	case lib.SQLITE_READONLY, lib.SQLITE_PERM, lib.SQLITE_AUTH:
		return bloodbank.CodeUnavailable, "the file cannot be written; check the owner and mode of the file and of its folder"
	case lib.SQLITE_CANTOPEN:
		return bloodbank.CodeUnavailable, "the file cannot be opened; check the owner and mode of the file and of its folder"
	case lib.SQLITE_NOTADB:
		return bloodbank.CodeInvalid, "the file is not a SQLite database, or its head is damaged; choose another path, or move it away and replay the bus"
	case lib.SQLITE_CORRUPT:
		return bloodbank.CodeUnavailable, "the file is damaged; move it away and replay the bus to build it anew"
	case lib.SQLITE_IOERR:
		return bloodbank.CodeUnavailable, "the disk failed or is full; check it"
	case lib.SQLITE_NOMEM:
		return bloodbank.CodeUnavailable, "out of memory"
	case lib.SQLITE_TOOBIG:
		return bloodbank.CodeTooLarge, "a value is larger than the database takes"
	case lib.SQLITE_INTERRUPT:
		return bloodbank.CodeTimeout, "interrupted"
	}
	return bloodbank.CodeInternal, "unexpected fault"
}
