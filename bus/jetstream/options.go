package jetstream

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"
)

// headroom is what headers may add to Message.Data on the wire.
const headroom = 1 << 10

// Options set up the embedded server and the connection to it. The zero value
// of each field but Dir means its default.
type Options struct {
	// Dir is the folder of the server's files; made if missing. One process at
	// a time may use it.
	Dir string
	// SyncInterval is how often the server fsyncs; default 1 s.
	SyncInterval time.Duration
	// SyncAlways fsyncs each message before its confirm, one by one. It is
	// several times slower, and only there for comparison and for those who run
	// no log in front.
	SyncAlways bool
	// Window is how many messages may be unconfirmed; default 512. A message
	// counts once per 64 KiB, so that a window of huge ones cannot fill the
	// memory.
	Window int
	// ConfirmTimeout is when an unconfirmed message is reported as failed;
	// default 10 s.
	ConfirmTimeout time.Duration
	// MaxMessage is the largest Message.Data in bytes; default 8 MiB less 1 KiB,
	// with which the payload stays within what the server's makers advise. At
	// most 48 MiB.
	MaxMessage int
	// DuplicateWindow is how long the broker remembers ids to drop a second
	// message; default 30 s. It costs some 150 bytes of memory per id, so it is
	// short: it covers a message sent again after a lost confirm. Recall covers
	// every longer gap, and the store is idempotent in any case.
	DuplicateWindow time.Duration
	// MaxAge is how long messages stay at the least; default 72 h. Older ones go
	// only once every durable consumer has acknowledged them.
	MaxAge time.Duration
	// KeepFor names groups that must exist before anything is purged, usually
	// the recorder's. Without it any one durable consumer is enough.
	KeepFor []string
	// PurgeEvery is how often the janitor looks; default 1 min.
	PurgeEvery time.Duration
	// Listen is the host:port where other NATS clients may connect, without
	// authentication; empty (the default) opens no port.
	Listen string
	// StartTimeout bounds the start of the server, which reads its files back;
	// default 30 s.
	StartTimeout time.Duration
	// Logger gets what the server and the driver have to say; default: nothing.
	Logger *slog.Logger

	// wire lets tests stand between client and server.
	wire wireTap
}

func (o Options) withDefaults() Options {
	def(&o.SyncInterval, time.Second)
	def(&o.Window, 512)
	def(&o.ConfirmTimeout, 10*time.Second)
	def(&o.MaxMessage, 8<<20-headroom)
	def(&o.DuplicateWindow, 30*time.Second)
	def(&o.MaxAge, 72*time.Hour)
	def(&o.PurgeEvery, time.Minute)
	def(&o.StartTimeout, 30*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validate names every bad field at once.
func (o Options) validate() error {
	var errs []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("jetstream: "+format, args...))
		}
	}
	refuse(o.Dir == "", "Dir is empty; without a folder messages would be lost at a reboot")
	refuse(o.Window < 1 || o.Window > math.MaxUint16, "Window is %d; use 1 to %d", o.Window, math.MaxUint16)
	refuse(o.MaxMessage < 1<<10 || o.MaxMessage > 48<<20, "MaxMessage is %d; use 1 KiB to 48 MiB", o.MaxMessage)
	refuse(o.SyncInterval < 0, "SyncInterval is %v; it must be positive", o.SyncInterval)
	refuse(o.ConfirmTimeout < 0, "ConfirmTimeout is %v; it must be positive", o.ConfirmTimeout)
	refuse(o.DuplicateWindow < 100*time.Millisecond, "DuplicateWindow is %v; use at least 100ms", o.DuplicateWindow)
	refuse(o.MaxAge < 0 || o.PurgeEvery < 0, "MaxAge is %v and PurgeEvery %v; they must be positive", o.MaxAge, o.PurgeEvery)
	return errors.Join(errs...)
}
