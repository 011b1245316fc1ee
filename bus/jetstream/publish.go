package jetstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
)

var (
	errUnconfirmed  = errors.New("jetstream: no confirm in time; it may still be stored, send it again with the same id")
	errDisconnected = errors.New("jetstream: connection lost before the confirm; it may still be stored, send it again with the same id")
	errNoStream     = errors.New("jetstream: no stream took the message; the server may be starting")
)

// publisher sends messages and pairs them with their confirms.
//
// It has a reply inbox of its own instead of the futures of the client library:
// they drop a message after 200 ms of stalling, retry by themselves (which
// breaks the order), and cost twice the allocations.
type publisher struct {
	conn    *nats.Conn
	prefix  string // of reply subjects; then "<slot>-<turn>"
	window  *bus.Window
	maxData atomic.Int64 // the largest Message.Data
	timeout time.Duration
	stuck   func() // told when the server no longer confirms

	msg  nats.Msg // reused by the one who sends
	turn uint64

	mu    sync.Mutex
	slots []slot
	idle  []int
	dead  bool // nothing is registered any more

	closeOnce sync.Once
	drained   chan struct{}
	sub       *nats.Subscription
	sweeper   sync.WaitGroup
	alive     atomic.Bool // the server has answered since the last look
}

// slot is a message that waits for its confirm.
type slot struct {
	reply    string // "" while idle
	done     func(error)
	kind     bloodbank.EventType
	places   int
	deadline time.Time
}

func newPublisher(conn *nats.Conn, o Options, stuck func()) (*publisher, error) {
	p := &publisher{
		conn: conn, prefix: conn.NewInbox() + ".", window: bus.NewWindow(o.Window),
		timeout: o.ConfirmTimeout, stuck: stuck,
		drained: make(chan struct{}),
		slots:   make([]slot, o.Window),
		msg: nats.Msg{Header: nats.Header{
			headerID: {""}, headerType: {contentType}, headerParent: {""}, headerEncoding: {""},
		}},
	}
	p.maxData.Store(int64(o.MaxMessage))
	for i := range p.slots {
		p.idle = append(p.idle, i)
	}
	var err error
	if p.sub, err = conn.Subscribe(p.prefix+"*", p.confirmed); err != nil {
		return nil, fmt.Errorf("jetstream: cannot listen for confirms: %w", err)
	}
	p.sweeper.Go(p.sweep)
	return p, nil
}

func (p *publisher) publish(ctx context.Context, m bus.Message, done func(error)) error {
	if err := p.check(m); err != nil {
		return err
	}
	places, err := p.window.Enter(ctx, len(m.Data))
	if err != nil {
		return err
	}
	defer p.window.Next()
	reply, ok := p.register(done, m.Type, places)
	if !ok {
		p.window.Give(places)
		return bus.ErrClosed
	}
	p.fill(m, reply)
	err = p.conn.PublishMsg(&p.msg)
	p.msg.Data = nil
	if err == nil {
		return nil
	}
	if _, mine := p.resolve(reply); !mine {
		return nil // a disconnect has reported it already
	}
	p.window.Give(places)
	if errors.Is(err, nats.ErrMaxPayload) {
		return fmt.Errorf("%w: %w", bus.ErrRejected, err)
	}
	return fmt.Errorf("jetstream: cannot send: %w", err)
}

// check refuses what no broker would ever take.
func (p *publisher) check(m bus.Message) error {
	if strings.ContainsAny(m.Encoding, "\r\n") {
		return fmt.Errorf("%w: its encoding %q cannot be a header", bus.ErrRejected, m.Encoding)
	}
	return m.Check(int(p.maxData.Load()))
}

// register makes a reply subject that is used once only, so that a late or
// double answer can never confirm another message.
func (p *publisher) register(done func(error), kind bloodbank.EventType, places int) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return "", false
	}
	i := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	p.turn++
	var buf [96]byte
	b := append(buf[:0], p.prefix...)
	b = strconv.AppendInt(b, int64(i), 36)
	b = append(b, '-')
	b = strconv.AppendUint(b, p.turn, 36)
	p.slots[i] = slot{reply: string(b), done: done, kind: kind, places: places, deadline: time.Now().Add(p.timeout)}
	return p.slots[i].reply, true
}

// resolve takes a waiting message out; only one caller gets it.
func (p *publisher) resolve(reply string) (slot, bool) {
	token, found := strings.CutPrefix(reply, p.prefix)
	number, _, cut := strings.Cut(token, "-")
	i, err := strconv.ParseInt(number, 36, 32)
	if !found || !cut || err != nil || i < 0 || int(i) >= len(p.slots) {
		return slot{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.slots[i]
	if s.reply != reply {
		return slot{}, false
	}
	p.slots[i] = slot{}
	p.idle = append(p.idle, int(i))
	return s, true
}

// fill writes m into the one message that is sent again and again.
func (p *publisher) fill(m bus.Message, reply string) {
	p.msg.Subject = SubjectPrefix + string(m.Type)
	p.msg.Reply = reply
	p.msg.Data = m.Data
	p.msg.Header[headerID][0] = m.ID.String()
	if m.Parent.IsZero() {
		delete(p.msg.Header, headerParent)
	} else {
		p.msg.Header[headerParent] = append(p.msg.Header[headerParent][:0], m.Parent.String())
	}
	if m.Encoding == "" {
		delete(p.msg.Header, headerEncoding)
	} else {
		p.msg.Header[headerEncoding] = append(p.msg.Header[headerEncoding][:0], m.Encoding)
	}
}

// confirmed handles an answer of the server.
func (p *publisher) confirmed(m *nats.Msg) {
	err := readConfirm(m)
	p.alive.Store(err == nil)
	s, ok := p.resolve(m.Subject)
	if !ok {
		return
	}
	s.done(err)
	p.window.Give(s.places)
	if errors.Is(err, errNoStream) {
		p.stuck()
	}
}

// pubAck is the server's answer. A duplicate is a success: the message is there.
type pubAck struct {
	Stream string `json:"stream"`
	Error  *struct {
		ErrCode     int    `json:"err_code"`
		Description string `json:"description"`
	} `json:"error"`
}

func readConfirm(m *nats.Msg) error {
	// The plain answer, without the cost of decoding it.
	if bytes.HasPrefix(m.Data, []byte(`{"stream":"`+Stream+`",`)) && !bytes.Contains(m.Data, []byte(`"error"`)) {
		return nil
	}
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return errNoStream
	}
	var ack pubAck
	switch err := json.Unmarshal(m.Data, &ack); {
	case err != nil:
		return fmt.Errorf("jetstream: unreadable confirm: %w", err)
	case ack.Error != nil && ack.Error.ErrCode == errCodeTooLarge:
		return fmt.Errorf("%w: %s", bus.ErrRejected, ack.Error.Description)
	case ack.Error != nil:
		return fmt.Errorf("jetstream: the server did not store it: %s (%d)", ack.Error.Description, ack.Error.ErrCode)
	case ack.Stream != Stream:
		return fmt.Errorf("jetstream: confirmed by stream %q instead of %s", ack.Stream, Stream)
	}
	return nil
}

// sweep reports messages whose confirm is overdue. When nothing else was
// confirmed either, it is the server that is stuck.
func (p *publisher) sweep() {
	seen := time.Now()
	tick := time.NewTicker(max(p.timeout/16, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-p.drained:
			return
		case now := <-tick.C:
			if p.alive.Swap(false) {
				seen = now
			}
			late := p.fail(errUnconfirmed, func(s slot) bool { return now.After(s.deadline) })
			if late > 0 && now.Sub(seen) > p.timeout/2 {
				p.stuck()
			}
		}
	}
}

// disconnected fails what was under way: the server may have stored it and the
// confirm is gone for good.
func (p *publisher) disconnected() {
	p.fail(errDisconnected, func(slot) bool { return true })
}

// denied fails what the server will never answer, because the user may not
// publish to that subject.
func (p *publisher) denied(subject string, err error) {
	p.fail(err, func(s slot) bool { return SubjectPrefix+string(s.kind) == subject })
}

// fail reports err for each waiting message that is meant and returns how many.
func (p *publisher) fail(err error, meant func(slot) bool) int {
	p.mu.Lock()
	var failed []slot
	for i, s := range p.slots {
		if s.reply != "" && meant(s) {
			failed = append(failed, s)
			p.slots[i] = slot{}
			p.idle = append(p.idle, i)
		}
	}
	p.mu.Unlock()
	for _, s := range failed {
		s.done(err)
		p.window.Give(s.places)
	}
	return len(failed)
}

// close refuses new messages, waits for open confirms until ctx ends, and fails
// the rest with bus.ErrClosed. When it returns every done has been called.
func (p *publisher) close(ctx context.Context) {
	p.closeOnce.Do(func() {
		p.window.Shut(ctx)
		p.mu.Lock()
		p.dead = true
		p.mu.Unlock()
		p.fail(bus.ErrClosed, func(slot) bool { return true })
		p.window.Await()
		close(p.drained)
		p.sweeper.Wait()
	})
}
