package voice

import (
	"context"
	"time"

	"github.com/33god/bloodbank"
	"github.com/google/uuid"
)

// Past knows the sessions of earlier processes, from the events that they published.
type Past interface {
	// Session returns a session that an earlier process left open. A session that is
	// not known or was closed is an error with [bloodbank.CodeNotFound]; where events may
	// still be on their way, an error with [bloodbank.CodeUnavailable].
	Session(ctx context.Context, id uuid.UUID) (PastSession, error)
}

// PastSession is what is known of a session whose process died.
type PastSession struct {
	Opened   bloodbank.EventID // the opening event
	Source   Source
	Target   string
	Language string
	// Utterances is the highest number that was given to one, and Audio the audio clock
	// behind which nothing is known: the client speaks on from there.
	Utterances int
	Audio      time.Duration
	// Finals are the published utterances as updates, in order.
	Finals []Update
}
