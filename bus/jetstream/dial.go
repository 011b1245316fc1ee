package jetstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/33god/bloodbank/bus"
)

// deniedFor is how long Check remembers that a permission was missed.
const deniedFor = time.Minute

// remote is what a Bus knows about servers elsewhere.
type remote struct {
	opts  DialOptions
	place string
	user  string // of the URL or the options
	token bool

	first func() // a first attempt has succeeded or failed
	tried chan struct{}

	// Law: the library calls Dial with its own lock held, so nothing of the
	// connection may be asked while mu is.
	mu       sync.Mutex
	dialling context.Context // ends what connects
	epoch    int             // counts the losses of the connection
	trouble  error           // why nothing can be sent; nil when it can
	said     error           // the last failed attempt to connect
	denied   error           // the last permission that was missed
	deniedAt time.Time
	unheard  error              // the permission that the look under way missed
	giveUp   context.CancelFunc // ends a look that can never be answered
	stream   jetstream.StreamConfig
}

// Dial connects to servers elsewhere. Servers that cannot be reached are no
// error: the driver tries for ever, with growing jittered pauses, and Publish and
// Check say why it has no connection. Errors are bad options, files that cannot
// be read, and ErrRefused where a server answers and refuses (credentials, TLS,
// permissions, JetStream off, a stream that would lose events): the message names
// the setting and the cure. ctx bounds the start only; Close ends it.
//
// Several processes may consume as one group: each message is handled by one of
// them, in order within each, and goes to another one when its process has shown
// no sign of life for Consumer.AckWait.
func Dial(ctx context.Context, o DialOptions) (*Bus, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	all, err := servers(o.URL)
	if err != nil {
		return nil, err
	}
	where, err := o.options(all)
	if err != nil {
		return nil, err
	}
	b := newBus(ctx, o.common())
	r := &remote{opts: o, place: place(all), user: o.User, token: o.Token != "", tried: make(chan struct{})}
	r.first = sync.OnceFunc(func() { close(r.tried) })
	if u := all[0].User; u != nil && r.user == "" {
		_, named := u.Password()
		if r.token = r.token || !named; named {
			r.user = u.Username()
		}
	}
	r.trouble = fmt.Errorf("jetstream: not connected to %s yet", r.place)
	b.far = r
	dialling, cancel := context.WithCancel(b.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	r.dialling = dialling
	err = b.connect(append(where,
		nats.SetCustomDialer(r),
		nats.ConnectHandler(func(*nats.Conn) { b.connected() }),
		nats.ReconnectHandler(func(*nats.Conn) { b.connected() }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { r.failed(err) }))...)
	if err != nil {
		return nil, err
	}
	if err := b.firstLook(ctx); err != nil {
		return nil, errors.Join(err, b.Close(ctx))
	}
	r.mu.Lock()
	r.dialling = b.ctx
	r.mu.Unlock()
	if o.probe {
		return b, nil
	}
	b.own.Go(b.tend)
	if o.MaxAge > 0 {
		b.own.Go(b.janitor)
	}
	return b, nil
}

// firstLook waits for the first attempt and returns what no later one can mend.
func (b *Bus) firstLook(ctx context.Context) error {
	select {
	case <-b.far.tried:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	// Asked once more, it may say why it hung up.
	for again := 0; again < 20 && hungUp(b.far.now()) && !b.conn.IsConnected() && pause(ctx, 50*time.Millisecond); again++ {
		if err := b.refusedLogin(); err != nil {
			return err
		}
	}
	if b.conn.IsConnected() {
		_ = b.look(ctx) // now has it
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := b.far.now(); errors.Is(err, ErrRefused) {
		return err
	} else if err != nil {
		b.opts.Logger.Warn("the bus is not ready; events wait in the log", "err", err)
		b.reportSick()
	}
	return nil
}

// connected runs on the connection's callback goroutine.
func (b *Bus) connected() {
	b.far.mu.Lock()
	b.far.said = nil
	b.far.mu.Unlock()
	b.far.first()
	b.limit()
	b.reportSick()
}

// failed notes why an attempt to connect failed.
func (r *remote) failed(cause error) {
	err := r.explainConnect(cause)
	r.mu.Lock()
	r.said, r.trouble = err, err
	r.mu.Unlock()
	r.first()
}

// refusedLogin is the refusal of the last attempt. The library tells the failures
// of a login to nobody but LastError.
func (b *Bus) refusedLogin() error {
	last := b.conn.LastError()
	if last == nil || b.conn.IsConnected() {
		return nil
	}
	if err := b.far.explainConnect(last); errors.Is(err, ErrRefused) {
		return err
	}
	return nil
}

// hungUp says that a server ended the login without a reason, which may have been
// lost on the way.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// lost notes that the connection is gone.
func (r *remote) lost(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch++
	r.denied = nil // a new login has permissions of its own
	r.trouble = fmt.Errorf("jetstream: connection to %s lost", r.place)
	if why != nil {
		r.trouble = fmt.Errorf("jetstream: connection to %s lost: %w", r.place, why)
	}
}

// now is why nothing can be sent, nil if it can.
func (r *remote) now() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trouble
}

func (r *remote) found() jetstream.StreamConfig {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stream
}

func (r *remote) setStream(c jetstream.StreamConfig) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stream = c
}

// limit learns how large a message may be; headers count there.
func (b *Bus) limit() {
	b.mu.Lock()
	pub := b.pub
	b.mu.Unlock()
	if pub == nil {
		return // the first look does it
	}
	limit := int64(b.opts.MaxMessage)
	if server := b.conn.MaxPayload(); server > 0 {
		limit = min(limit, max(server-headroom, 1))
	}
	if stream := b.far.found().MaxMsgSize; stream > 0 {
		limit = min(limit, max(int64(stream)-headroom, 1))
	}
	pub.maxData.Store(limit)
}

// tend looks after the stream: after each connect, and when confirms say that
// none is there or do not come at all.
func (b *Bus) tend() {
	for n := 1; ; {
		select {
		case <-b.ctx.Done():
			return
		case <-b.sick:
		}
		if !b.conn.IsConnected() {
			continue // the next connect wakes us
		}
		err := b.look(b.ctx)
		if err == nil {
			n = 1
			continue
		}
		if b.ctx.Err() == nil {
			b.opts.Logger.Warn("the bus is not ready; events wait in the log", "err", err)
		}
		if !pause(b.ctx, backoff(n, 100*time.Millisecond, b.far.opts.ReconnectMax)) {
			return
		}
		n++
		b.reportSick()
	}
}

// look finds the stream and says whether events may be sent. A server that is
// silent is left for another one of the cluster.
func (b *Bus) look(ctx context.Context) error {
	r := b.far
	ctx, cancel := context.WithTimeout(ctx, r.opts.DialTimeout)
	defer cancel()
	r.mu.Lock()
	epoch := r.epoch
	r.giveUp, r.unheard = cancel, nil
	r.mu.Unlock()
	err := r.explainAPI(b.adopt(ctx))
	r.mu.Lock()
	r.giveUp = nil
	if err != nil && r.unheard != nil {
		err = r.unheard
	}
	if epoch == r.epoch {
		r.trouble = err
	}
	r.mu.Unlock()
	if errors.Is(err, context.DeadlineExceeded) {
		_ = b.conn.ForceReconnect() // fails only on a closed connection
	}
	return err
}

// farComplained handles what the server reports by itself: mostly permissions,
// over which it drops a request without an answer. One that an event misses says
// nothing about the stream, so that a look under way goes on.
func (b *Bus) farComplained(err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	said := explainDenied(err)
	r := b.far
	r.mu.Lock()
	if r.giveUp != nil && !strings.HasPrefix(subjectOf(err), SubjectPrefix) {
		r.unheard = said
		r.giveUp()
	} else {
		r.denied, r.deniedAt = said, time.Now()
	}
	r.mu.Unlock()
	b.mu.Lock()
	pub := b.pub
	b.mu.Unlock()
	if pub != nil {
		pub.denied(subjectOf(err), said)
	}
}

func (b *Bus) checkFar(ctx context.Context) error {
	r := b.far
	r.mu.Lock()
	err, denied, said := r.trouble, r.denied, r.said
	if time.Since(r.deniedAt) > deniedFor {
		denied = nil
	}
	r.mu.Unlock()
	if !b.conn.IsConnected() {
		if login := b.refusedLogin(); login != nil {
			err = login
		} else if said != nil {
			err = said
		}
	}
	if err == nil {
		err = denied
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.DialTimeout)
	defer cancel()
	if _, err := b.js.Stream(ctx, Stream); err != nil {
		if b.isClosed() {
			return bus.ErrClosed
		}
		return r.explainAPI(err)
	}
	return nil
}
