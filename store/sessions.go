package store

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/33god/bloodbank"
)

// SessionSilence is how long a voice session may say nothing, without a closing
// event, before it counts as lost.
const SessionSilence = 15 * time.Minute

// MaxLastText is how many letters of the last utterance a [Session] has.
const MaxLastText = 500

// SessionState says what became of a voice session.
type SessionState string

// The states. A lost session was never closed and has been silent for long: its
// server died, or its closing event has not arrived.
const (
	SessionLive  SessionState = "live"
	SessionEnded SessionState = "ended"
	SessionLost  SessionState = "lost"
)

// Session is a voice session, as the events of types transcription.session.opened,
// transcription.session.closed and transcription.voice.completed with its
// session_id tell of it. A store counts each event once.
type Session struct {
	ID     string
	Source string // payload.source, "" where no event says
	// Opened is the time of its first event, Last that of its latest.
	Opened, Last time.Time
	// Closed is zero while it is open.
	Closed            time.Time
	Utterances, Words int
	// Audio is how much of it was heard, 0 where no event says.
	Audio time.Duration
	// LastText is what was said last, up to MaxLastText letters.
	LastText string
	Language string // of what was said last, "" where no event says
}

// State is the state at a time.
func (s Session) State(now time.Time) SessionState {
	switch {
	case !s.Closed.IsZero():
		return SessionEnded
	case s.Last.Before(now.Add(-SessionSilence)):
		return SessionLost
	}
	return SessionLive
}

// SessionQuery asks for a page of sessions, newest first.
type SessionQuery struct {
	// State is "" for all.
	State SessionState
	// Now is what live and lost are measured from. Required.
	Now time.Time
	// Limit is 1..MaxLimit; 0 means DefaultLimit.
	Limit int
	// Cursor continues behind an earlier page; "" starts. A session whose state
	// changes in between may be missed in a list of one state.
	Cursor string
}

// SessionPage is the answer. Next is "" where there are no more.
type SessionPage struct {
	Sessions []Session
	Next     string
}

// Sessions is what a store offers beyond [Store] to list voice sessions. Its cost
// does not grow with the number of events.
type Sessions interface {
	Sessions(ctx context.Context, q SessionQuery) (SessionPage, error)
	// Session returns one, or an error with CodeNotFound.
	Session(ctx context.Context, id string) (Session, error)
}

// sessionCursor is the first byte of a cursor.
const sessionCursor = 's'

// CursorAt makes the cursor that continues q behind p: the time at which a session
// began, and the store's number for it.
func (q SessionQuery) CursorAt(p Position) string {
	b := append([]byte{sessionCursor}, q.State...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.Micros))
	b = binary.BigEndian.AppendUint64(b, uint64(p.Sequence))
	return base64.RawURLEncoding.EncodeToString(b)
}

// Position reads q.Cursor; ok is false where there is none. One that was made for
// another state, or that nobody made, is CodeInvalid.
func (q SessionQuery) Position() (p Position, ok bool, err error) {
	if q.Cursor == "" {
		return p, false, nil
	}
	head := string(sessionCursor) + string(q.State)
	b, err := base64.RawURLEncoding.Strict().DecodeString(q.Cursor)
	if err != nil || len(b) != len(head)+16 || string(b[:len(head)]) != head {
		return p, false, bloodbank.Errorf(bloodbank.CodeInvalid, "the cursor cannot be read, or belongs to another state; pass the one of the page before, unchanged, or none to start again")
	}
	p.Micros = int64(binary.BigEndian.Uint64(b[len(head):]))
	p.Sequence = int64(binary.BigEndian.Uint64(b[len(head)+8:]))
	return p, true, nil
}

// Normalize fills in what is zero. A limit, state or cursor that is none is
// CodeInvalid.
func (q SessionQuery) Normalize() (SessionQuery, error) {
	if q.Limit == 0 {
		q.Limit = DefaultLimit
	}
	if q.Limit < 0 || q.Limit > MaxLimit {
		return q, bloodbank.Errorf(bloodbank.CodeInvalid, "limit is %d; use 1 to %d", q.Limit, MaxLimit)
	}
	switch q.State {
	case "", SessionLive, SessionEnded, SessionLost:
	default:
		return q, bloodbank.Errorf(bloodbank.CodeInvalid, "state %q is not known; use live, ended or lost", q.State)
	}
	_, _, err := q.Position()
	return q, err
}
