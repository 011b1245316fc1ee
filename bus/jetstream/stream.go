package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
)

const (
	// Stream is the name of the stream that holds all events.
	Stream = "BLOODBANK_EVENTS"
	// SubjectPrefix comes before the event type in a subject.
	SubjectPrefix = "bloodbank.evt.v1."

	headerID     = "Nats-Msg-Id"
	headerParent = "Bb-Parent"
	headerType   = "Content-Type"
	contentType  = "application/json"
	// headerEncoding holds Message.Encoding; it is absent for plain JSON.
	headerEncoding = "Content-Encoding"

	// Error codes of the server that ask for words of our own.
	errCodeStreamOffline       = 10118
	errCodeStreamOfflineReason = 10194
	errCodeTooLarge            = 10054
)

// streamConfig has no limit of age, size or number: with one, the server drops
// messages whether or not anybody has read them. The janitor purges instead.
func streamConfig(o Options) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:       Stream,
		Subjects:   []string{SubjectPrefix + ">"},
		Storage:    jetstream.FileStorage,
		Retention:  jetstream.LimitsPolicy,
		Discard:    jetstream.DiscardOld,
		MaxMsgs:    -1,
		MaxBytes:   -1,
		MaxMsgSize: -1,
		Replicas:   1,
		Duplicates: o.DuplicateWindow,
	}
}

func ensureStream(ctx context.Context, js jetstream.JetStream, o Options) error {
	_, err := js.CreateOrUpdateStream(ctx, streamConfig(o))
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == errCodeStreamOffline || api.ErrorCode == errCodeStreamOfflineReason) {
		return fmt.Errorf("jetstream: the messages in %s were written by a newer version of bb; use that version, or another folder: %w", o.Dir, err)
	}
	if err != nil {
		return fmt.Errorf("jetstream: cannot set up the stream %s: %w", Stream, err)
	}
	return nil
}

// decode turns a message of the broker back into ours. One that was published
// by others may lack our headers; its ID is zero then and Data says the rest.
func decode(m *nats.Msg) bus.Message {
	out := bus.Message{Type: bloodbank.EventType(strings.TrimPrefix(m.Subject, SubjectPrefix)), Data: m.Data}
	out.ID, _ = bloodbank.ParseEventID(m.Header.Get(headerID))
	if parent := m.Header.Get(headerParent); parent != "" {
		out.Parent, _ = bloodbank.ParseEventID(parent)
	}
	out.Encoding = m.Header.Get(headerEncoding)
	return out
}

// backoff is the pause before attempt n (from 1): doubling from base up to
// limit, with the upper half random so that members do not move in step.
func backoff(n int, base, limit time.Duration) time.Duration {
	d := min(base<<min(n-1, 20), limit)
	return d/2 + jitter(d/2)
}
