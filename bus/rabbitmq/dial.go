package rabbitmq

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// closeGrace is what an orderly goodbye may take beyond a context.
const closeGrace = time.Second

// dialer makes connections.
type dialer struct {
	opts  Options
	uri   amqp.URI
	place string
}

// connection is one to the broker, with its socket, so that it can be cut off
// when a call does not come back.
type connection struct {
	*amqp.Connection
	wire *wire

	mu    sync.Mutex
	over  bool
	calls sync.WaitGroup // goroutines inside the library

	asking   chan struct{} // held by the call under way
	patience time.Duration // Options.DialTimeout
}

// vagueTries is how often a login is tried whose failure the library explains
// badly.
const vagueTries = 5

// connect logs in, within ctx and DialTimeout. A broker that hangs up during the
// login may refuse the credentials, or just end; the library takes it for the
// former, and only one that does so twice is believed. And where a TLS alert and
// the hang-up after it come close together, the library may lose the alert.
func (d *dialer) connect(ctx context.Context, purpose string) (*connection, error) {
	began := time.Now()
	c, silent, err := d.login(ctx, purpose)
	if silent && errors.Is(err, amqp.ErrCredentials) && ctx.Err() == nil {
		c, silent, err = d.login(ctx, purpose)
	}
	for n := 1; n < vagueTries && d.vague(err) && time.Since(began) < d.opts.DialTimeout/2 && ctx.Err() == nil; n++ {
		c, silent, err = d.login(ctx, purpose)
	}
	if err == nil {
		return c, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, d.explainConnect(err, d.user(), silent)
}

// vague says whether the other side hung up on TLS and the reason is lost.
func (d *dialer) vague(err error) bool {
	var said *amqp.Error
	switch {
	case d.uri.Scheme != "amqps":
		return false
	case errors.As(err, &said):
		return !said.Server && said.Code != amqp.AccessRefused && !remoteAlert(said.Reason) && !alien(said.Reason)
	}
	return errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (d *dialer) user() string {
	if d.opts.Login != nil {
		user, _ := d.opts.Login()
		return user
	}
	return d.uri.Username
}

// login makes one attempt. silent: the broker hung up on us.
func (d *dialer) login(ctx context.Context, purpose string) (c *connection, silent bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.opts.DialTimeout)
	defer cancel()
	var w *wire
	settled := func() bool { return true }
	config := amqp.Config{
		Heartbeat:  d.opts.Heartbeat,
		Properties: amqp.Table{"product": "bloodbank", "connection_name": "bloodbank " + purpose},
		Dial: func(network, addr string) (net.Conn, error) {
			raw, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			w = newWire(raw, d.opts.ConfirmTimeout)
			settled = context.AfterFunc(ctx, w.expire)
			return w, nil
		},
	}
	if d.opts.TLS != nil {
		config.TLSClientConfig = d.opts.TLS.Clone() // the library writes into it
	}
	config.SASL = d.credentials(config.Properties)
	conn, err := amqp.DialConfig(d.opts.URL, config)
	if err == nil && !settled() {
		err = errSlow
	}
	if err == nil {
		return &connection{Connection: conn, wire: w, asking: make(chan struct{}, 1), patience: d.opts.DialTimeout}, false, nil
	}
	if w != nil {
		silent = settled() && w.hungUp.Load()
		w.kill()
	}
	return nil, silent, err
}

// credentials are those that Login gives, or the URL, for each way to log in
// that the URL names.
func (d *dialer) credentials(properties amqp.Table) []amqp.Authentication {
	uri := d.uri
	if d.opts.Login != nil {
		uri.Username, uri.Password = d.opts.Login()
	}
	var all []amqp.Authentication
	for _, way := range uri.AuthMechanism {
		if strings.EqualFold(way, "EXTERNAL") {
			all = append(all, frank{&amqp.ExternalAuth{}, properties})
		} else {
			all = append(all, frank{uri.PlainAuth(), properties})
		}
	}
	if all == nil {
		all = append(all, frank{uri.PlainAuth(), properties})
	}
	return all
}

// frank asks the broker to say that it refuses a login, instead of hanging up
// after three seconds. The library sets the capabilities by itself, before it
// asks for the response, and has no other way to add one.
type frank struct {
	amqp.Authentication
	properties amqp.Table
}

func (f frank) Response() string {
	if c, ok := f.properties["capabilities"].(amqp.Table); ok {
		c["authentication_failure_close"] = true
	}
	return f.Authentication.Response()
}

// close says goodbye within a moment and joins what is under way. A broker that
// blocks publishers does not answer, and each sign of life of it puts off the
// deadline of the library.
func (c *connection) close() {
	stop := c.guard(closeGrace)
	defer stop()
	_ = c.CloseDeadline(time.Now().Add(closeGrace)) // it may be gone already
	c.cut()
}

// cut ends the connection without a word.
func (c *connection) cut() {
	c.wire.kill()
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	c.calls.Wait()
}

// call runs f on a channel of its own, one call at a time. The library's calls do
// not heed a context: when ctx ends or stop is closed first, f is left to itself
// until it is answered or the connection ends, and the next call waits for it.
func (c *connection) call(ctx context.Context, stop <-chan struct{}, f func(*amqp.Channel) error) error {
	select {
	case c.asking <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-stop:
		return errStopped
	}
	result := make(chan error, 1)
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		<-c.asking
		return amqp.ErrClosed
	}
	c.calls.Go(func() {
		ch, err := c.Channel()
		if err == nil {
			err = f(ch)
			_ = ch.Close() // the broker has closed it where f failed
		}
		<-c.asking
		result <- err
	})
	c.mu.Unlock()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-stop:
		return errStopped
	}
}

// setUp is call for what the connection is useless without: a broker that takes
// longer than DialTimeout loses it. The end of ctx alone does not, because the
// connection may serve others.
func (c *connection) setUp(ctx context.Context, f func(*amqp.Channel) error) error {
	defer c.guard(c.patience)()
	return c.call(ctx, nil, f)
}

// guard cuts the connection off after d, unless the result is called first.
func (c *connection) guard(d time.Duration) (stop func() bool) {
	return time.AfterFunc(d, c.wire.expire).Stop
}
