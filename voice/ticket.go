package voice

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"sync"
	"time"

	"github.com/33god/bloodbank"
	"github.com/google/uuid"
)

// takeOverWithin is how long who resumes a session waits for its former holder.
const takeOverWithin = 10 * time.Second

// Ticket is a place for one client, taken before anything is promised to it.
type Ticket struct {
	desk   *Desk
	resume uuid.UUID
	once   sync.Once
}

// Admit takes a place, or says why there is none: CodeUnavailable. resume names the
// session that the client comes back to; the zero value is none.
func (d *Desk) Admit(ctx context.Context, resume uuid.UUID) (*Ticket, error) {
	if err := d.enter(resume); err != nil {
		d.meter.count(func(c *Counts) { c.Refused++ })
		return nil, err
	}
	t := &Ticket{desk: d, resume: resume}
	if err := d.o.Recogniser.Check(ctx); err != nil {
		t.Return()
		d.meter.count(func(c *Counts) { c.Refused++ })
		return nil, bloodbank.Errorf(bloodbank.CodeUnavailable, "speech cannot be recognised now: %w", err)
	}
	return t, nil
}

func (d *Desk) enter(resume uuid.UUID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "the server is going down; connect again later")
	}
	if lag := d.lag(); lag > d.o.MaxLag {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "%s of speech wait to be transcribed; connect again later", lag.Round(time.Second))
	}
	// Who comes back holds two places for a moment: the session's and the ticket's.
	if _, back := d.seats[resume]; !back && d.places >= d.o.MaxSessions && !d.makeRoom() {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "all %d voice sessions are taken; connect again later", d.o.MaxSessions)
	}
	d.places++
	d.ending.Add(1)
	return nil
}

// makeRoom ends the session whose client has been away for longest.
func (d *Desk) makeRoom() bool {
	var oldest *seat
	for _, s := range d.seats {
		if !s.over && s.holder == nil && (oldest == nil || s.left.Before(oldest.left)) {
			oldest = s
		}
	}
	if oldest == nil {
		return false
	}
	d.dismiss(oldest, ReasonDisconnected)
	return true
}

// Return gives the place back, where neither Open nor Resume took it.
func (t *Ticket) Return() { t.once.Do(func() { t.desk.leave() }) }

func (d *Desk) leave() {
	d.mu.Lock()
	d.places--
	d.mu.Unlock()
	d.ending.Done()
}

// Open begins a session. The ticket is used up, whatever the outcome. Recogniser,
// Emitter, Origin, Now and Audio.Transcoder are the desk's, and so is Endpoint where it is zero. An id that
// is in use is CodeConflict.
func (t *Ticket) Open(ctx context.Context, o SessionOptions) (*Lease, error) {
	defer t.Return()
	return t.desk.open(ctx, o)
}

func (d *Desk) open(ctx context.Context, o SessionOptions) (_ *Lease, err error) {
	o.Recogniser, o.Emitter, o.Origin, o.Now = d.o.Recogniser, d.o.Emitter, d.o.Origin, d.o.Now
	o.Endpoint, o.Audio.Transcoder, o.meter = o.Endpoint.Or(d.o.Endpoint), d.o.Transcoder, &d.meter
	if o.ID == uuid.Nil {
		if o.ID, err = uuid.NewV7(); err != nil {
			return nil, fmt.Errorf("make a session id: %w", err)
		}
	}
	s := &seat{desk: d}
	d.mu.Lock()
	if _, taken := d.seats[o.ID]; taken {
		d.mu.Unlock()
		return nil, bloodbank.Errorf(bloodbank.CodeConflict,
			"session %s exists; resume it with its resume_token, or take another session_id", o.ID)
	}
	if d.closed {
		d.mu.Unlock()
		return nil, bloodbank.Errorf(bloodbank.CodeUnavailable, "the server is going down; connect again later")
	}
	// Opening talks to the log and so does not hold the lock: a seat that is over for
	// now keeps the id.
	s.over = true
	d.seats[o.ID] = s
	d.mu.Unlock()
	session, err := Open(d.life, o)
	d.mu.Lock()
	defer d.mu.Unlock()
	s.release()
	if err != nil {
		delete(d.seats, o.ID)
		return nil, err
	}
	d.meter.count(func(c *Counts) { c.Opened++ })
	s.session, s.over = session, false
	d.places++
	d.ending.Add(1)
	return s.hand(), nil
}

// Resume takes a session up again where its client left it. The ticket is used up,
// whatever the outcome. A wrong token is CodeForbidden, a session that is not known (any
// more) CodeNotFound, one whose holder does not let go CodeConflict.
func (t *Ticket) Resume(ctx context.Context, token string) (*Lease, error) {
	defer t.Return()
	d := t.desk
	if subtle.ConstantTimeCompare([]byte(token), []byte(d.token(t.resume))) != 1 {
		return nil, bloodbank.Errorf(bloodbank.CodeForbidden, "the resume_token does not belong to session %s", t.resume)
	}
	ctx, cancel := context.WithTimeout(ctx, takeOverWithin)
	defer cancel()
	for {
		d.mu.Lock()
		s := d.seats[t.resume]
		if s == nil {
			d.mu.Unlock()
			return d.revive(ctx, t.resume)
		}
		if s.session != nil && s.holder == nil && !s.leaving {
			defer d.mu.Unlock()
			return s.hand(), nil
		}
		free := s.call()
		d.mu.Unlock()
		select {
		case <-free:
		case <-ctx.Done():
			return nil, bloodbank.Errorf(bloodbank.CodeConflict, "session %s is still in use; try again in a moment", t.resume)
		}
	}
}

// revive opens a session of an earlier process again.
func (d *Desk) revive(ctx context.Context, id uuid.UUID) (*Lease, error) {
	if d.o.Past == nil {
		return nil, bloodbank.Errorf(bloodbank.CodeNotFound, "session %s is not known any more; open a new one", id)
	}
	past, err := d.o.Past.Session(ctx, id)
	if err != nil {
		return nil, err
	}
	return d.open(ctx, SessionOptions{
		ID: id, Source: past.Source, Target: past.Target, Language: past.Language, past: &past,
	})
}

// token proves that a client is the one to whom the session was given.
func (d *Desk) token(id uuid.UUID) string {
	mac := hmac.New(sha256.New, d.o.Secret)
	mac.Write([]byte("bloodbank voice session "))
	mac.Write(id[:])
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:24])
}
