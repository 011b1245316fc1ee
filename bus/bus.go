// Package bus is the contract of the message bus: how events are handed to a
// broker and how a group of consumers takes them from it. Its subfolders are
// the brokers; bustest is the suite that each of them passes.
//
// It knows no write-ahead log, no store and no schema. Who retries, and for how
// long, is decided by dispatch and recorder, not here.
package bus

import (
	"context"
	"errors"
	"time"

	"github.com/33god/bloodbank"
)

// Sentinels that drivers wrap. Any other error of a driver means: not known
// whether it happened; send again with the same id.
var (
	// ErrClosed: the driver was closed; nothing more will happen.
	ErrClosed = errors.New("bus: closed")
	// ErrRejected: the broker refuses this message for good (too large, for
	// example). Sending it again cannot help.
	ErrRejected = errors.New("bus: message rejected")
)

// Message is an event on its way through a broker.
type Message struct {
	ID   bloodbank.EventID
	Type bloodbank.EventType
	// Parent is the first parent, or zero.
	Parent bloodbank.EventID
	// Data is the envelope's wire form, packed as Encoding says. The receiver must
	// not change it.
	Data []byte
	// Encoding is the content coding of Data as HTTP names it: empty for plain
	// JSON, or gzip. Drivers carry it beside the message, in the property or header
	// that their protocol has for it, and never look inside.
	Encoding string
}

// Publisher hands messages to a broker.
//
// Law: a driver keeps a window of unconfirmed messages (Features.Window) and
// sends them in the order of the calls. It never retries by itself; it reports.
// After an error that is not ErrRejected the message may or may not be on the
// broker. Sending the same ID again is always safe: the broker or the recorder
// drops the second one.
type Publisher interface {
	// Publish sends m and returns at once while the window has room; otherwise
	// it blocks until there is room or ctx ends. done is called exactly once if
	// and only if Publish returns nil: with nil once the broker has confirmed,
	// with an error otherwise, at the latest after the driver's confirm
	// deadline. done may be called before Publish returns, from any goroutine;
	// it must not block. m.Data must stay unchanged until then.
	Publish(ctx context.Context, m Message, done func(error)) error
	// Check reports whether the broker can take messages now.
	Check(ctx context.Context) error
	// Features says what the broker's answers are worth.
	Features() Features
	// Close waits for open confirms within ctx and releases everything. Waiting
	// done calls get ErrClosed. It is idempotent.
	Close(ctx context.Context) error
}

// Features describes a broker as data; the suite and dispatch read it.
type Features struct {
	// Name is what people call it, for example "embedded JetStream".
	Name string
	// Window is how many messages may be unconfirmed at once.
	Window int
	// MaxMessage is the largest Message.Data in bytes; 0 means no limit known.
	MaxMessage int
	// SafeDelay is how long after its confirm a message can still be lost to a
	// power cut: 0 where a confirm means fsynced. The log keeps a message's
	// record until then.
	SafeDelay time.Duration
	// Deduplicates says that a second message with the same ID is dropped by
	// the broker within DuplicateWindow.
	Deduplicates    bool
	DuplicateWindow time.Duration
	// Ordered says that messages are delivered in the order of publishing.
	Ordered bool
	// Persistent says that messages survive a restart of the broker.
	Persistent bool
}

// Recaller is implemented by publishers that can say which ids they hold. After
// an unclean start dispatch asks before it sends the unsafe tail again, so that
// other consumers see no duplicates however long the machine was down.
type Recaller interface {
	// Recall returns the ids of the messages that the broker took since then.
	Recall(ctx context.Context, since time.Time) (map[bloodbank.EventID]struct{}, error)
}

// Delivery is a message as a consumer gets it.
type Delivery struct {
	Message
	// Attempt counts deliveries of this message to the group, from 1, as far
	// as the broker knows.
	Attempt int
}

// Consumer says what a group wants.
type Consumer struct {
	// Group is the durable name. Each message is handled by one member of a
	// group; groups do not know each other. A new group starts with the oldest
	// message that the broker keeps for it: on a bus that keeps a stream the
	// oldest there is, on one that keeps queues the first after the group's queue
	// was made. A driver of the second kind is told the groups when it is opened.
	Group string
	// MaxBatch is how many messages one call of the handler gets at the most;
	// 0 means 500. A batch is never held back to fill up.
	MaxBatch int
	// AckWait is how long after the last sign of life of a member its batch
	// goes to another one; 0 means 30 s. A slow handler is not dead: the driver
	// keeps its batch alive. A bus that one process owns alone ignores it.
	AckWait time.Duration
}

// Subscriber takes messages from a broker.
type Subscriber interface {
	// Consume calls handle with one batch after another, in order, until ctx
	// ends, and returns nil then. A batch is acknowledged once handle has
	// returned nil; after an error, or a crash, all of it is delivered again,
	// after a short growing delay. Nothing is ever dropped. Connection losses
	// are the driver's to mend; Consume returns an error only when it cannot
	// start at all.
	Consume(ctx context.Context, c Consumer, handle func(context.Context, []Delivery) error) error
	// Lag is how many messages the group has not acknowledged.
	Lag(ctx context.Context, group string) (uint64, error)
}

// ValidGroup reports whether a group may be called that: 1 to 128 letters, digits,
// dashes and underscores, which every broker takes.
func ValidGroup(name string) bool {
	for _, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && c != '_' && c != '-' {
			return false
		}
	}
	return 0 < len(name) && len(name) <= 128
}

// Sandbox is implemented by publishers that can send a message to a place aside:
// neither the consumers of events nor our recorder get it, only who binds to that
// place.
type Sandbox interface {
	// PublishAside sends m there and waits until the broker has it. It is made for
	// hundreds a second, not for all that flows. Nothing keeps m for a consumer that
	// is not there. An error that is no ErrRejected may be tried again.
	PublishAside(ctx context.Context, m Message) error
	// Aside says in words what a consumer must bind to.
	Aside() string
}
