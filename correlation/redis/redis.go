package redis

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
)

// Defaults of [Options].
const (
	DefaultTTL     = 30 * 24 * time.Hour
	DefaultTimeout = time.Second
)

// Options configure a [Tracker]. The zero value of a field means its default.
type Options struct {
	// Addr is host:port; the default is localhost:6379.
	Addr string
	// DB is the number of the database, from 0.
	DB int
	// Username is for servers with several users; "" is the default user.
	Username string
	Password string
	// TLS turns on TLS where it is not nil.
	TLS *tls.Config
	// TTL is how long a link is kept, in whole seconds; the default is 30 days.
	TTL time.Duration
	// Timeout is how long one round trip may take; the default is 1 s.
	Timeout time.Duration
	// Lookup returns those of ids (as many as a chain may have) that the store
	// knows, in any order. With it,
	// nodes have their details, and events without parents are known. It may be
	// nil: then only edges are known.
	Lookup func(ctx context.Context, ids []bloodbank.EventID) ([]correlation.Node, error)
	Logger *slog.Logger

	now func() time.Time // for tests
}

func (o Options) withDefaults() (Options, error) {
	if o.Addr == "" {
		o.Addr = "localhost:6379"
	}
	if o.TTL == 0 {
		o.TTL = DefaultTTL
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.now == nil {
		o.now = time.Now
	}
	switch {
	case o.TTL < time.Second:
		return o, bloodbank.Errorf(bloodbank.CodeInvalid, "the time to live of links in Redis is %s; use at least 1s", o.TTL)
	case o.Timeout < 0:
		return o, bloodbank.Errorf(bloodbank.CodeInvalid, "the timeout for Redis is %s; it must not be negative", o.Timeout)
	case o.DB < 0:
		return o, bloodbank.Errorf(bloodbank.CodeInvalid, "the Redis database is %d; use a number from 0", o.DB)
	}
	if _, _, err := net.SplitHostPort(o.Addr); err != nil {
		return o, bloodbank.Errorf(bloodbank.CodeInvalid, "the Redis address %q is not host:port", o.Addr)
	}
	return o, nil
}

// ParseURL reads redis://user:password@host:port/db, or rediss:// for TLS. Its
// errors never hold the password.
func ParseURL(url string) (Options, error) {
	parsed, err := goredis.ParseURL(url)
	if err != nil || parsed.Network != "tcp" {
		// The cause may hold the whole URL, so it is not told.
		return Options{}, bloodbank.Errorf(bloodbank.CodeInvalid, "the Redis URL cannot be read: write redis://user:password@host:port/db, or rediss:// for TLS; special characters of the password as %%XX")
	}
	return Options{Addr: parsed.Addr, DB: parsed.DB, Username: parsed.Username, Password: parsed.Password, TLS: parsed.TLSConfig}, nil
}

// Tracker implements [correlation.Tracker]. Its errors: CodeNotFound as the
// contract says, CodeUnavailable while Redis does not answer, and CodeTimeout
// never: a timeout of Redis is CodeUnavailable.
type Tracker struct {
	o       Options
	client  atomic.Pointer[goredis.Client]
	breaker *breaker
	scripts scripts
	counts  counts

	stop  context.CancelFunc // ends the goroutines
	done  sync.WaitGroup
	close sync.Once
}

var _ correlation.Tracker = (*Tracker)(nil)

// Open returns a tracker. A Redis that is down is no error, since it may come
// back; one that refuses the credentials or the database is.
func Open(ctx context.Context, o Options) (*Tracker, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	logging.Disable() // it prints what it also returns as errors
	t := &Tracker{o: o, breaker: newBreaker(), scripts: newScripts()}
	t.client.Store(t.dial())
	if err := t.ping(ctx); err != nil {
		if ctx.Err() != nil {
			_ = t.client.Load().Close()
			return nil, context.Cause(ctx)
		}
		if refused(err) {
			_ = t.client.Load().Close()
			return nil, t.explain(err)
		}
		t.o.Logger.Warn("Redis does not answer; links wait, and it is tried again", "addr", o.Addr, "error", err)
		t.breaker.trip(err)
	}
	// The goroutines outlive the call: Close ends them.
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	t.stop = stop
	t.done.Go(func() { t.probe(run) })
	return t, nil
}

// dial makes a client. It never retries by itself: the breaker knows better.
func (t *Tracker) dial() *goredis.Client {
	return goredis.NewClient(&goredis.Options{
		Addr: t.o.Addr, DB: t.o.DB, Username: t.o.Username, Password: t.o.Password, TLSConfig: t.o.TLS,
		Protocol: 2, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		MaxRetries:               -1, DialerRetries: 1,
		DialTimeout: t.o.Timeout, ReadTimeout: t.o.Timeout, WriteTimeout: t.o.Timeout,
		ContextTimeoutEnabled: true,
		PoolSize:              10, PipelinePoolSize: -1,
	})
}

// Close ends the tracker. It is idempotent.
func (t *Tracker) Close() error {
	var err error
	t.close.Do(func() {
		t.stop()
		t.done.Wait()
		err = t.client.Load().Close()
	})
	return err
}

// Check reports whether Redis answers now. While the breaker is open it says so
// without asking.
func (t *Tracker) Check(ctx context.Context) error {
	return t.do(ctx, func(ctx context.Context, c *goredis.Client) error { return c.Ping(ctx).Err() })
}

type counts struct {
	written, refused atomic.Uint64
}

// Status describes a tracker. The counts are since it was opened.
type Status struct {
	// Up is false while Redis does not answer; Fault says why, since when.
	Up    bool      `json:"up"`
	Fault string    `json:"fault,omitempty"`
	Since time.Time `json:"since,omitzero"`
	// Written counts links that Redis took. Refused counts those that it does not
	// take, because one of their keys holds something else.
	Written uint64 `json:"written"`
	Refused uint64 `json:"refused"`
}

// Status returns a snapshot. It asks nobody.
func (t *Tracker) Status() Status {
	s := Status{Up: true, Written: t.counts.written.Load(), Refused: t.counts.refused.Load()}
	if since, err := t.breaker.state(); err != nil {
		s.Up, s.Fault, s.Since = false, err.Error(), since
	}
	return s
}
