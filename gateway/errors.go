package gateway

import (
	"context"
	"errors"
	"strconv"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/wal"
)

// logError turns an error of the log into one with a code and a next step. n is
// how many events were to be written.
func logError(err error, n int) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, wal.ErrFull):
		return bloodbank.Errorf(bloodbank.CodeStorageFull, "the disk with the write-ahead log is full and nothing was accepted. Make room and send again: %w", err)
	case errors.Is(err, wal.ErrTooLarge) && n > 1:
		return bloodbank.Errorf(bloodbank.CodeTooLarge, "the %d events together do not fit into the write-ahead log at once and nothing was accepted. Send fewer of them: %w", n, err)
	case errors.Is(err, wal.ErrTooLarge):
		return bloodbank.Errorf(bloodbank.CodeTooLarge, "the event does not fit into the write-ahead log: %w", err)
	case errors.Is(err, wal.ErrReadOnly):
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "the folder of the write-ahead log cannot be written and nothing was accepted: %w", err)
	case errors.Is(err, wal.ErrClosed):
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "the server is stopping and nothing was accepted; send again in a moment: %w", err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return bloodbank.Errorf(bloodbank.CodeTimeout, "the write-ahead log did not answer in time; the event may still be accepted. Send it again with the same event_id: %w", err)
	default:
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "cannot write to the write-ahead log, so nothing was acknowledged. Send again with the same event_id: %w", err)
	}
}

// locate says which event of several a fault belongs to.
func locate(err error, i, n int) error {
	if n == 1 {
		return err
	}
	var e *bloodbank.Error
	if !errors.As(err, &e) {
		return err
	}
	at := "/" + strconv.Itoa(i)
	located := bloodbank.Errorf(e.Code, "event %d of %d is refused, and so nothing was accepted: %s", i+1, n, e.Message)
	for _, d := range e.Details {
		located.Details = append(located.Details, bloodbank.Detail{Pointer: at + "/payload" + d.Pointer, Message: d.Message})
	}
	if len(e.Details) == 0 {
		located.Details = []bloodbank.Detail{{Pointer: at, Message: e.Message}}
	}
	return located
}
