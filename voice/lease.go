package voice

import (
	"context"
	"time"
)

// seat is a session at the desk, which locks it.
type seat struct {
	desk    *Desk
	session *Session // nil while it is being opened
	holder  *Lease   // nil while the client is away
	left    time.Time
	timer   *time.Timer // ends the session, or forgets one that is over
	leaving bool        // it is being ended
	// over says that the session has ended. It stays for those who come back for what
	// they missed.
	over bool
	// free is closed when the holder lets go, or the opening or ending is done; nil while
	// nobody waits for that.
	free chan struct{}
}

// Lease is the right to hold a session: to write to it and to end it.
type Lease struct {
	*Session
	seat *seat
	lost chan struct{}
	gone bool // guarded by the desk's lock
}

// hand gives the session to a new holder.
func (s *seat) hand() *Lease {
	if s.timer != nil && !s.over {
		s.timer.Stop()
		s.timer = nil
	}
	s.holder = &Lease{Session: s.session, seat: s, lost: make(chan struct{})}
	return s.holder
}

// call asks the holder to let go and returns a channel that is closed then.
func (s *seat) call() <-chan struct{} {
	if s.free == nil {
		s.free = make(chan struct{})
		if s.holder != nil {
			close(s.holder.lost)
		}
	}
	return s.free
}

func (s *seat) release() {
	s.holder = nil
	if s.free != nil {
		close(s.free)
		s.free = nil
	}
}

// Token is what the client shows to resume the session.
func (l *Lease) Token() string { return l.seat.desk.token(l.ID()) }

// Lost is closed when the client came back by another way: this holder must stop writing
// and call Leave, without ending the session.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Over reports whether the session has ended: then there is only to read.
func (l *Lease) Over() bool {
	l.seat.desk.mu.Lock()
	defer l.seat.desk.mu.Unlock()
	return l.seat.over
}

// Leave lets go of the session because the client vanished. It waits for the client to
// come back, and is ended when that does not happen in time. After Leave or End the lease
// is of no more use; calling Leave again does nothing.
func (l *Lease) Leave() {
	d, s := l.seat.desk, l.seat
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.gone {
		return
	}
	l.gone = true
	grace := d.o.Grace
	if s.free != nil { // somebody waits to resume it
		grace = max(grace, takeOverWithin)
	}
	s.release()
	switch {
	case s.over:
	case d.closed:
		d.dismiss(s, ReasonShutdown)
	case grace < 0:
		d.dismiss(s, ReasonDisconnected)
	default:
		s.left = time.Now()
		s.timer = time.AfterFunc(grace, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.dismiss(s, ReasonDisconnected)
		})
	}
}

// End ends the session: see [Session.End]. Who comes back within the grace time can
// still read what was missed.
func (l *Lease) End(ctx context.Context, why Reason) (Totals, error) {
	d := l.seat.desk
	d.mu.Lock()
	gone, over := l.gone, l.seat.over
	l.gone = true
	if gone || over {
		if !gone {
			l.seat.release()
		}
		d.mu.Unlock()
		return l.Totals(), nil
	}
	l.seat.leaving = true
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, d.o.FlushTimeout)
	defer cancel()
	totals, err := l.Session.End(ctx, why)
	d.finish(l.seat)
	return totals, err
}

// dismiss ends, in the background, a session that nobody holds. The caller has the lock.
func (d *Desk) dismiss(s *seat, why Reason) {
	if s.holder != nil || s.leaving || s.over {
		return
	}
	s.leaving = true
	if s.timer != nil {
		s.timer.Stop()
	}
	d.ending.Go(func() {
		ctx, cancel := context.WithTimeout(d.life, d.o.FlushTimeout)
		defer cancel()
		if _, err := s.session.End(ctx, why); err != nil {
			d.o.Logger.Error("voice session ended with a fault", "session_id", s.session.ID().String(), "error", err)
		}
		d.finish(s)
	})
}

// finish notes that a session has ended, and keeps what it told for a while.
func (d *Desk) finish(s *seat) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.over, s.leaving = true, false
	s.release()
	d.places--
	d.ending.Done()
	forget := func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.seats, s.session.ID())
	}
	if d.closed || d.o.Grace < 0 {
		delete(d.seats, s.session.ID())
		return
	}
	s.timer = time.AfterFunc(d.o.Grace, forget)
}
