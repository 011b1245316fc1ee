package rabbitmq

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/33god/bloodbank/bus"
)

// Queue types of Options.QueueType.
const (
	// Quorum queues are replicated and fsync before they confirm.
	Quorum = "quorum"
	// Classic queues confirm before they fsync.
	Classic = "classic"
)

// DefaultExchange is the original's exchange.
const DefaultExchange = "bloodbank.events.v1"

// classicDelay is how long after a confirm a classic queue may lose a message to
// a power cut; the broker gives no sign of its fsync.
const classicDelay = 10 * time.Minute

// newQueueDelay covers a power cut after a quorum queue was made: its entry in the
// broker's directory is written, but not fsynced.
const newQueueDelay = time.Minute

// Options set up the connection. The zero value of each field but URL means its
// default.
type Options struct {
	// URL is amqp://user:password@host:port/vhost, or amqps. The query
	// parameters cacertfile, certfile, keyfile, server_name_indication,
	// auth_mechanism and heartbeat work. The password never leaves the package.
	URL string
	// Login, if given, is asked for user and password at each connect, so that
	// changed ones are taken up; the URL's are not used then.
	Login func() (user, password string)
	// TLS is the client configuration for amqps; default: what the URL says.
	TLS *tls.Config
	// Exchange is the durable topic exchange; default DefaultExchange.
	Exchange string
	// Groups have their queues declared with every connection, before the first
	// message goes out. Without any, a message that no foreign queue takes is
	// reported as not routed.
	Groups []string
	// QueuePrefix comes before the group in a queue's name; default "bloodbank."
	// with the default exchange, else the exchange and a dot.
	QueuePrefix string
	// QueueType is Quorum (the default) or Classic, for the queues of groups.
	QueueType string
	// Window is how many messages may be unconfirmed; default 256, above which
	// RabbitMQ only gets slower. A message counts once per 64 KiB.
	Window int
	// ConfirmTimeout is when an unconfirmed message is reported as failed, and
	// how long a write may stall before the connection is given up; default 10 s.
	ConfirmTimeout time.Duration
	// MaxMessage is the largest Message.Data in bytes; default 16 MiB, which every
	// version takes. The broker may have a lower limit; it is then learnt.
	MaxMessage int
	// Prefetch is how many messages a consumer may hold unacknowledged; default
	// 1000.
	Prefetch int
	// DialTimeout bounds connecting, login and declaring; default 5 s.
	DialTimeout time.Duration
	// Heartbeat is the interval of signs of life; default 10 s, at least 1 s.
	Heartbeat time.Duration
	// ReconnectMax is the longest pause between attempts; default 10 s.
	ReconnectMax time.Duration
	// Logger gets what the driver has to say; default: nothing.
	Logger *slog.Logger

	// look is how often a consumer without messages asks whether it is forgotten.
	look time.Duration
	// settle is how long a new queue is not trusted; tests shorten it.
	settle time.Duration
}

func (o Options) withDefaults() Options {
	def(&o.Exchange, DefaultExchange)
	if o.QueuePrefix == "" {
		o.QueuePrefix = o.Exchange + "."
		if o.Exchange == DefaultExchange {
			o.QueuePrefix = "bloodbank."
		}
	}
	def(&o.QueueType, Quorum)
	def(&o.Window, 256)
	def(&o.ConfirmTimeout, 10*time.Second)
	def(&o.MaxMessage, 16<<20)
	def(&o.Prefetch, 1000)
	def(&o.DialTimeout, 5*time.Second)
	def(&o.Heartbeat, 10*time.Second)
	def(&o.ReconnectMax, 10*time.Second)
	def(&o.settle, time.Second)
	def(&o.look, 10*time.Second)
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
			errs = append(errs, fmt.Errorf("rabbitmq: "+format, args...))
		}
	}
	uri, err := amqp.ParseURI(o.URL)
	// The parser's own words may hold parts of the password.
	refuse(err != nil, "the URL in "+urlSetting+" cannot be read; write amqp://user:password@host:port/vhost (or amqps), "+
		"with special characters of user and password percent-encoded")
	for _, way := range uri.AuthMechanism {
		known := strings.EqualFold(way, "PLAIN") || strings.EqualFold(way, "EXTERNAL")
		refuse(!known, "auth_mechanism in the URL is not plain or external")
	}
	refuse(len(o.Exchange) > 127, "Exchange has %d bytes; use at most 127", len(o.Exchange))
	refuse(len(o.QueuePrefix) > 127, "QueuePrefix has %d bytes; use at most 127", len(o.QueuePrefix))
	refuse(o.QueueType != Quorum && o.QueueType != Classic, "QueueType is %q; use %s or %s", o.QueueType, Quorum, Classic)
	for _, g := range o.Groups {
		refuse(!bus.ValidGroup(g), "invalid group %q in Groups: use letters, digits, _ and -", g)
	}
	refuse(o.Window < 1 || o.Window > math.MaxUint16, "Window is %d; use 1 to %d", o.Window, math.MaxUint16)
	refuse(o.Prefetch < 1 || o.Prefetch > math.MaxUint16, "Prefetch is %d; use 1 to %d", o.Prefetch, math.MaxUint16)
	refuse(o.MaxMessage < 1<<10 || o.MaxMessage > 128<<20, "MaxMessage is %d; use 1 KiB to 128 MiB", o.MaxMessage)
	refuse(o.Heartbeat < time.Second, "Heartbeat is %v; use at least 1s", o.Heartbeat)
	refuse(o.ConfirmTimeout < 0 || o.DialTimeout < 0 || o.ReconnectMax < 0,
		"ConfirmTimeout is %v, DialTimeout %v and ReconnectMax %v; they must be positive", o.ConfirmTimeout, o.DialTimeout, o.ReconnectMax)
	return errors.Join(errs...)
}

func (o Options) queue(group string) string { return o.QueuePrefix + group }

// place is the broker's address for people: no password, no user.
func place(uri amqp.URI) string {
	at := uri.Scheme + "://" + net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port)) + "/"
	if uri.Vhost != "/" {
		at += uri.Vhost
	}
	return at
}
