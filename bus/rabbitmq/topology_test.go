package rabbitmq

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/internal/testenv"
)

// Nothing that we declare is transient, exclusive or deleted by itself, and no
// queue forgets: no limit of length, age or deliveries, and no dead letter
// exchange, whose transfer is at most once.
func TestTrapTopologyLastsAndForgetsNothing(t *testing.T) {
	t.Parallel()
	const passive, durable, bit2, bit3 = 1, 2, 4, 8 // bit2, bit3: auto-delete and internal, or exclusive and auto-delete
	for _, queueType := range []string{Quorum, Classic} {
		s := (&stub{}).serve(t, nil)
		open(t, Options{URL: s.url(), Groups: []string{"recorder"}, QueueType: queueType})
		exchange := s.declared(DefaultExchange)
		if len(exchange) != 1 || exchange[0].kind != "topic" || exchange[0].bits&(passive|durable|bit2|bit3) != durable || len(exchange[0].args) != 0 {
			t.Errorf("exchange declared as %+v", exchange)
		}
		queue := s.declared("bloodbank.recorder")
		if len(queue) != 2 || queue[0].bits&(passive|durable|bit2|bit3) != durable || !maps.Equal(queue[0].args, map[string]any{"x-queue-type": queueType, "x-single-active-consumer": true}) {
			t.Fatalf("queue declared as %+v", queue)
		}
		if queue[1].kind != DefaultExchange+" #" {
			t.Errorf("queue bound to %q", queue[1].kind)
		}
	}
}

// Since RabbitMQ 4 a quorum queue drops a message after 20 deliveries unless
// told otherwise; earlier ones refuse to be told.
func TestTrapDeliveryLimit(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]any{"3.10.8": nil, "3.13.7": nil, "4.0.5": int64(-1), "10.1.0": int64(-1), "?": nil} {
		s := (&stub{version: version}).serve(t, nil)
		open(t, Options{URL: s.url(), Groups: []string{"g"}})
		if got := s.declared("bloodbank.g")[0].args[limitArg]; got != want {
			t.Errorf("version %s: %s is %v, want %v", version, limitArg, got, want)
		}
	}
}

// A queue that was made before an upgrade cannot be told; it is used, with a
// warning.
func TestDeliveryLimitOfAnOldQueue(t *testing.T) {
	t.Parallel()
	s := (&stub{version: "4.1.0", refuse: func(m stubMethod) (uint16, string) {
		if m.args[limitArg] != nil {
			return 406, "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'bloodbank.g' in vhost '/': received the value '-1' of type 'signedint' but current is none"
		}
		return 0, ""
	}}).serve(t, nil)
	var said lines
	open(t, Options{URL: s.url(), Groups: []string{"g"}, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	if n := len(s.declared("bloodbank.g")); n != 3 { // with, without, bound
		t.Errorf("%d declarations", n)
	}
	if !strings.Contains(said.String(), "x-delivery-limit = -1") {
		t.Errorf("no warning: %s", said.String())
	}
}

// lines is a log that may be written and read at once.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Only a quorum queue of our own makes a confirm worth an fsync.
func TestTrapConfirmOfAClassicQueueIsNoFsync(t *testing.T) {
	t.Parallel()
	s := (&stub{}).serve(t, nil)
	for _, row := range []struct {
		o    Options
		safe bool
	}{
		{Options{Groups: []string{"g"}}, false}, // it makes the queue
		{Options{Groups: []string{"g"}}, true},
		{Options{Groups: []string{"g"}, QueueType: Classic}, false},
		{Options{}, false}, // whose queue takes the message is not known
	} {
		row.o.URL = s.url()
		if delay := open(t, row.o).Features().SafeDelay; (delay == 0) != row.safe {
			t.Errorf("type %q, groups %v: safe delay %v", row.o.QueueType, row.o.Groups, delay)
		}
	}
}

func TestQueueNames(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]Options{
		"bloodbank.g":      {},
		"staging.events.g": {Exchange: "staging.events"}, // two exchanges of one virtual host must not share a queue
		"mine-g":           {QueuePrefix: "mine-"},
	} {
		if got := o.withDefaults().queue("g"); got != want {
			t.Errorf("%+v: queue %q, want %q", o, got, want)
		}
	}
}

// With the real server. These are not parallel: its administration answers one
// question at a time.

func TestTrapSettingsMismatch(t *testing.T) {
	r := testenv.RabbitMQ(t)
	open(t, Options{URL: r.URL(), Groups: []string{"classic"}, QueueType: Classic})
	c := raw(t, r.URL())
	for name, kind := range map[string]string{"fan": "fanout", "passing": "topic"} {
		if err := c.ExchangeDeclare(name, kind, kind == "fanout", false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		o     Options
		words []string
	}{
		{Options{Groups: []string{"classic"}}, []string{"bloodbank.classic", "bus.queue_type", "delete_queue", "x-queue-type"}},
		{Options{Exchange: "fan"}, []string{`"fan"`, "topic", "rabbit.exchange", "EXCHANGE_NAME", "'type'"}},
		{Options{Exchange: "passing"}, []string{`"passing"`, "durable", "EXCHANGE_NAME"}},
	} {
		row.o.URL = r.URL()
		refusedWith(t, row.o, row.words...)
	}
	// A group that is named only when it is consumed.
	b := open(t, Options{URL: r.URL()})
	err := b.Consume(t.Context(), bus.Consumer{Group: "classic"}, nil)
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "bus.queue_type") {
		t.Errorf("Consume: %v", err)
	}
	confirmOrUnroutable(t, b)
}

// confirmOrUnroutable shows that the connection for publishing lives.
func confirmOrUnroutable(t *testing.T, b *Bus) {
	t.Helper()
	if err := result(t, b, newMessage(t)); err != nil && !errors.Is(err, ErrUnroutable) {
		t.Error(err)
	}
}

// refusedWith opens with o and demands a refusal that says all words, and no
// password.
func refusedWith(t *testing.T, o Options, words ...string) {
	t.Helper()
	b, err := Open(t.Context(), o)
	if err == nil {
		t.Errorf("Open: no error, want ErrRefused; Check: %v", b.Check(t.Context()))
		closeBus(t, b)
		return
	}
	if !errors.Is(err, ErrRefused) {
		t.Errorf("Open: %v, want ErrRefused", err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not in: %v", w, err)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the password is in: %v", err)
	}
}

func TestRefusedLogins(t *testing.T) {
	r := testenv.RabbitMQ(t)
	r.AddUser("bb-outsider", "secret-1", "", "", "")
	r.AddUser("bb-reader", "secret-2", "^none$", "^none$", ".*")
	at := r.Addr()
	refusedWith(t, Options{URL: r.URLAs(at, "bb-outsider", "secret-wrong")}, "bb-outsider", "password", at, "bus.url", "BB_BUS", "RABBIT_URL")
	refusedWith(t, Options{URL: r.URLAs(at, "guest", "secret-guest")}, "guest", "own machine", "ACCESS_REFUSED")
	refusedWith(t, Options{URL: "amqp://bb:bb-secret@" + at + "/no-such-vhost"}, "no-such-vhost", "path of bus.url", "RABBIT_URL")
	refusedWith(t, Options{URL: r.URLAs(at, "bb-outsider", "secret-1")}, DefaultExchange, "configure", "set_permissions")
	open(t, Options{URL: r.URL(), Groups: []string{"recorder"}})
	refusedWith(t, Options{URL: r.URLAs(at, "bb-outsider", "secret-1"), Groups: []string{"other"}}, "bloodbank.other", "set_permissions")
	refusedWith(t, Options{URL: "amqps://bb:bb-secret@" + at + "/"}, "TLS")

	// One who may not configure uses what is there; one who may not write learns
	// it from the first message.
	b := open(t, Options{URL: r.URLAs(at, "bb-reader", "secret-2"), Groups: []string{"recorder"}})
	if b.Features().SafeDelay == 0 {
		t.Error("a queue whose type is not known is taken for safe")
	}
	err := result(t, b, newMessage(t))
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "grant write") {
		t.Errorf("publishing without the right to: %v", err)
	}
	until(t, "Check to say so", func() bool { return errors.Is(b.Check(t.Context()), ErrRefused) })
}

// The password is changed while we are connected.
func TestChangedCredentials(t *testing.T) {
	r := testenv.RabbitMQ(t)
	r.AddUser("bb-rotating", "first", ".*", ".*", ".*")
	var mu sync.Mutex
	password := "first"
	set := func(p string) { mu.Lock(); password = p; mu.Unlock() }
	b := open(t, Options{
		URL: r.URLAs(r.Addr(), "somebody", "else"), Groups: []string{"recorder"}, ReconnectMax: 50 * reconnectBase,
		Login: func() (string, string) { mu.Lock(); defer mu.Unlock(); return "bb-rotating", password },
	})
	confirm(t, b, 1)
	r.AddUser("bb-rotating", "second", ".*", ".*", ".*")
	r.CloseConnections()
	until(t, "a refused login", func() bool { return errors.Is(b.Check(t.Context()), ErrRefused) })
	err := b.Publish(t.Context(), newMessage(t), nil)
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "bb-rotating") {
		t.Errorf("Publish: %v", err)
	}
	set("second")
	until(t, "the new password to work", func() bool { return b.Check(t.Context()) == nil })
	confirm(t, b, 1)
}

func TestBadOptions(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"", "amqp://u:sec ret@h/", "http://u:secret@h/", "amqp://u:sec/ret@h/", "amqp://u:secret@h:port/",
		"amqp://u:secret%zz@h/", "amqp://u:secret@h:99999999999/", "u:secret@h", "amqp://u:secret@h/?heartbeat=secret",
	} {
		_, err := Open(t.Context(), Options{URL: url})
		if err == nil || !strings.Contains(err.Error(), "cannot be read; write amqp://") {
			t.Errorf("%q: %v", url, err)
			continue
		}
		if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "ret@") || !strings.Contains(err.Error(), "RABBIT_URL") {
			t.Errorf("the password is in: %v", err)
		}
	}
	_, err := Open(t.Context(), Options{
		URL: "amqp://h/", QueueType: "stream", Window: -1, Prefetch: 1 << 20, MaxMessage: 1, Heartbeat: 1, Groups: []string{"a b"},
		Exchange: strings.Repeat("x", 200), ConfirmTimeout: -1,
	})
	for _, name := range []string{"QueueType", "Window", "Prefetch", "MaxMessage", "Heartbeat", "Groups", "Exchange", "QueuePrefix", "ConfirmTimeout"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named in: %v", name, err)
		}
	}
}

func TestOpenHeedsItsContext(t *testing.T) {
	t.Parallel()
	s := (&stub{}).serve(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, Options{URL: s.url()}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v, want context.Canceled", err)
	}
}
