package dispatch

import (
	"context"
	"encoding/json"
	"time"

	"github.com/33god/bloodbank"
)

// closeBatch is how many dead letters are closed with one write.
const closeBatch = 64

// resent is a redriven dead letter that its target has confirmed.
type resent struct {
	number uint64
	due    time.Time // from then on the bus cannot lose it any more
}

// delivered ends the redrive of a dead letter that the bus has confirmed. Where the
// bus can still lose it the letter stays in its log, as the record of any other
// event does, because the write-ahead log may have forgotten it long ago. The
// caller does not wait for that.
func (l *loop) delivered(ctx context.Context, m *message) {
	number := m.redriven.number
	if l.safe.delay == 0 {
		l.finish(m, l.d.o.Dead.close(ctx, number))
		return
	}
	l.d.o.Dead.confirm(number)
	l.resent = append(l.resent, resent{number, time.Now().Add(l.safe.delay)})
	m.redriven.verdict <- nil
}

// closeResent closes those that the bus can no longer lose, some at a time.
func (l *loop) closeResent(ctx context.Context, now time.Time) {
	var numbers []uint64
	for _, r := range l.resent[:min(len(l.resent), closeBatch)] {
		if r.due.After(now) {
			break
		}
		numbers = append(numbers, r.number)
	}
	if len(numbers) == 0 {
		return
	}
	if err := l.d.o.Dead.close(ctx, numbers...); err != nil {
		if ctx.Err() == nil {
			l.closeLater(now.Add(l.d.o.MaxBackoff), err)
		}
		return
	}
	l.resent = l.resent[len(numbers):]
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	for _, number := range numbers {
		delete(l.d.redriving, number)
	}
}

// closeLater lets all wait after the log of dead letters could not be written, so
// that they stay sorted by time.
func (l *loop) closeLater(at time.Time, err error) {
	l.d.o.Logger.Error("cannot close dead letters; it is tried again", "at", at, "error", err)
	for i := range l.resent {
		if l.resent[i].due.Before(at) {
			l.resent[i].due = at
		}
	}
}

func (l *loop) nextClose() (time.Time, bool) {
	if len(l.resent) == 0 {
		return time.Time{}, false
	}
	return l.resent[0].due, true
}

// confirm notes that the target has taken a redriven dead letter, which stays open
// until it is closed or given back.
func (d *DeadLetters) confirm(number uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.busy, number)
	d.setConfirmedLocked(number, d.now().UTC())
}

func (d *DeadLetters) setConfirmedLocked(number uint64, at time.Time) {
	if letter, open := d.open[number]; open {
		letter.ConfirmedAt = at
		d.open[number] = letter
	}
}

// close ends dead letters that their target has taken after all.
func (d *DeadLetters) close(ctx context.Context, numbers ...uint64) error {
	records := make([][]byte, len(numbers))
	for i, number := range numbers {
		var err error
		if records[i], err = json.Marshal(deadRecord{Closed: number}); err != nil {
			return err
		}
	}
	if _, err := d.log.AppendBatch(ctx, records); err != nil {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "dead letters %v were delivered, but that cannot be written down, so they stay listed: %w", numbers, err)
	}
	d.mu.Lock()
	for _, number := range numbers {
		d.closeLocked(number)
	}
	d.mu.Unlock()
	d.trim(ctx)
	return nil
}
