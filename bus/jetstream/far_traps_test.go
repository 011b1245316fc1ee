package jetstream

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/internal/testenv"
)

// The traps of JetStream on real servers, one test each. See also traps_test.go
// for the embedded one.

// TestTrapPendingFailThoughStored: when the connection ends, what waits for its
// confirm fails, though it is stored; sent again with the same id it is one
// message.
func TestTrapPendingFailThoughStored(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, o testenv.NATSOptions) {
		t.Parallel()
		s := testenv.NATS(t, o)
		way := testenv.NewProxy(t, s.Addr())
		settings := impatient("nats://" + way.Addr())
		settings.ConfirmTimeout = 20 * time.Second
		b := dial(t, settings)
		watch := dial(t, DialOptions{URL: s.URL()})
		way.Stall(testenv.ToClient)
		results := make(chan error, 10)
		var sent []bus.Message
		for range 10 {
			sent = append(sent, publishTo(t, b, results))
		}
		testenv.Eventually(t, "all are stored", func() bool { return stored(t, watch) == 10 })
		way.Cut()
		for range sent {
			if err := receive(t, results); !errors.Is(err, errDisconnected) {
				t.Errorf("after the cut: %v, want a report that it may be stored", err)
			}
		}
		way.Heal()
		persist(t, b, sent)
		if n := stored(t, watch); n != 10 {
			t.Errorf("%d messages stored, want 10", n)
		}
	})
}

// TestTrapStallDropsNothing: the client library gives a message up when its window
// is full for 200 ms.
func TestTrapStallDropsNothing(t *testing.T) {
	t.Parallel()
	s := testenv.NATS(t, testenv.NATSOptions{Program: modern})
	o := DialOptions{URL: s.URL(), Window: 4}
	b := dial(t, o)
	s.Freeze()
	results := make(chan error, 5)
	for range 4 {
		publishTo(t, b, results)
	}
	blocked := make(chan error, 1)
	go func() { blocked <- b.Publish(t.Context(), newMessage(t), func(err error) { results <- err }) }()
	select {
	case err := <-blocked:
		t.Errorf("Publish returned %v while the window was full", err)
	case <-time.After(500 * time.Millisecond):
	}
	s.Thaw()
	if err := receive(t, blocked); err != nil {
		t.Error(err)
	}
	for range 5 {
		if err := receive(t, results); err != nil {
			t.Error(err)
		}
	}
}

// TestTrapStreamIsGone: without a stream there is no confirm; it is reported at
// once, and the stream is made anew.
func TestTrapStreamIsGone(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, o testenv.NATSOptions) {
		t.Parallel()
		s := testenv.NATS(t, o)
		b := dial(t, impatient(s.URL()))
		confirm(t, b, 1)
		if err := foreign(t, s.URL()).DeleteStream(t.Context(), Stream); err != nil {
			t.Fatal(err)
		}
		if err := retry(t, b, newMessage(t)); !errors.Is(err, errNoStream) {
			t.Errorf("without a stream: %v", err)
		}
		sent := newMessages(t, 3)
		persist(t, b, sent)
		allOnce(t, b, "g", sent)
	})
}

// TestTrapDuplicateIsSuccessExternal: and the window reaches as far as SafeDelay.
func TestTrapDuplicateIsSuccessExternal(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, o testenv.NATSOptions) {
		t.Parallel()
		s := testenv.NATS(t, o)
		b := dial(t, DialOptions{URL: s.URL()})
		m := confirm(t, b, 1)[0]
		s.Restart() // the ids are read back from the messages
		ready(t, b)
		if err := retry(t, b, m); err != nil {
			t.Errorf("the second time: %v", err)
		}
		if n := stored(t, b); n != 1 {
			t.Errorf("%d messages stored", n)
		}
		f := b.Features()
		if f.DuplicateWindow != time.Hour || f.DuplicateWindow < f.SafeDelay || !f.Deduplicates {
			t.Errorf("features: %+v", f)
		}
	})
}

// TestTrapConfirmIsNotSyncedExternal: nobody can ask a server for its
// sync_interval, so the default of the makers is assumed unless we are told.
func TestTrapConfirmIsNotSyncedExternal(t *testing.T) {
	t.Parallel()
	s := testenv.NATS(t, testenv.NATSOptions{Program: modern})
	for want, o := range map[time.Duration]DialOptions{
		2*time.Minute + 30*time.Second: {},
		40 * time.Second:               {SyncInterval: 10 * time.Second},
		0:                              {SyncAlways: true},
	} {
		o.URL = s.URL()
		if got := dial(t, o).Features().SafeDelay; got != want {
			t.Errorf("SafeDelay is %v, want %v", got, want)
		}
	}
}

// TestTrapPayloadLimitExternal: max_payload of the server holds, and a message
// above it is refused for good, not tried for ever.
func TestTrapPayloadLimitExternal(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, o testenv.NATSOptions) {
		t.Parallel()
		o.Config = "max_payload: 65536"
		b := dial(t, DialOptions{URL: testenv.NATS(t, o).URL()})
		if got := b.Features().MaxMessage; got != 65536-headroom {
			t.Errorf("MaxMessage is %d", got)
		}
		m := newMessage(t)
		m.Data = make([]byte, b.Features().MaxMessage)
		m.Parent, m.Encoding = m.ID, "gzip"
		if err := retry(t, b, m); err != nil {
			t.Error(err)
		}
		m.Data = append(m.Data, 0)
		if err := retry(t, b, m); !errors.Is(err, bus.ErrRejected) {
			t.Errorf("too large: %v", err)
		}
	})
}

// TestTrapFullStreamRefuses: with discard new the server refuses when it is full;
// nothing is evicted, and there is no confirm.
func TestTrapFullStreamRefuses(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, o testenv.NATSOptions) {
		t.Parallel()
		s := testenv.NATS(t, o)
		js := foreign(t, s.URL())
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
			Name: Stream, Subjects: []string{SubjectPrefix + ">"}, MaxMsgs: 5, Discard: jetstream.DiscardNew,
		})
		if err != nil {
			t.Fatal(err)
		}
		b := dial(t, DialOptions{URL: s.URL()})
		sent := confirm(t, b, 5)
		if err := retry(t, b, newMessage(t)); err == nil || !strings.Contains(err.Error(), "maximum messages") || errors.Is(err, bus.ErrRejected) {
			t.Errorf("into a full stream: %v", err)
		}
		allOnce(t, b, "g", sent)
	})
}

// TestTrapCorePublishHasNoConfirm: a plain publish is stored or not, and says
// nothing; ours asks for an answer in every message.
func TestTrapCorePublishHasNoConfirm(t *testing.T) {
	t.Parallel()
	s := testenv.NATS(t, testenv.NATSOptions{Program: modern})
	b := dial(t, DialOptions{URL: s.URL()})
	conn, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	asked := make(chan *nats.Msg, 1)
	if _, err := conn.ChanSubscribe(SubjectPrefix+">", asked); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	m := confirm(t, b, 1)[0]
	if got := receive(t, asked); got.Reply == "" || got.Header.Get(headerID) != m.ID.String() {
		t.Errorf("sent with reply %q and id %q", got.Reply, got.Header.Get(headerID))
	}
}

// TestTrapStreamHasNoLimits: what we make keeps everything until it is read, in
// files, and dispatch's ids.
func TestTrapStreamHasNoLimits(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, o testenv.NATSOptions) {
		t.Parallel()
		b := dial(t, DialOptions{URL: testenv.NATS(t, o).URL(), KeepFor: []string{"recorder"}})
		s, err := b.js.Stream(t.Context(), Stream)
		if err != nil {
			t.Fatal(err)
		}
		c := s.CachedInfo().Config
		if wrong := unfit(c); len(wrong) > 0 {
			t.Errorf("we would refuse it ourselves: %q", wrong)
		}
		if c.MaxBytes != -1 || c.MaxMsgs != -1 || c.MaxAge != 0 || c.Storage != jetstream.FileStorage || c.Retention != jetstream.LimitsPolicy {
			t.Errorf("config: %+v", c)
		}
		confirm(t, b, 5)
		if _, err := b.purge(t.Context(), time.Now()); err != nil || stored(t, b) != 5 {
			t.Errorf("purged before the recorder has read it: %d stay, %v", stored(t, b), err)
		}
		drain(t, b, "recorder", 5)
		testenv.Eventually(t, "old and read messages go", func() bool {
			_, err := b.purge(t.Context(), time.Now())
			return err == nil && stored(t, b) == 0
		})
	})
}

// TestTrapGroupOfOthers: a consumer of that name with other settings could lose
// messages; it is refused by name.
func TestTrapGroupOfOthers(t *testing.T) {
	t.Parallel()
	s := testenv.NATS(t, testenv.NATSOptions{Program: modern})
	b := dial(t, DialOptions{URL: s.URL()})
	_, err := foreign(t, s.URL()).CreateConsumer(t.Context(), Stream, jetstream.ConsumerConfig{Durable: "g", AckPolicy: jetstream.AckNonePolicy})
	if err != nil {
		t.Fatal(err)
	}
	err = b.Consume(t.Context(), bus.Consumer{Group: "g"}, func(context.Context, []bus.Delivery) error { return nil })
	demandRefusal(t, err, `group "g"`, "nats consumer rm")
}

func TestProbeChangesNothing(t *testing.T) {
	t.Parallel()
	s := testenv.NATS(t, testenv.NATSOptions{Program: modern})
	js := foreign(t, s.URL())
	if err := Probe(t.Context(), DialOptions{URL: s.URL()}); err != nil {
		t.Error(err)
	}
	if _, err := js.Stream(t.Context(), Stream); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("a probe made the stream: %v", err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: Stream, Subjects: []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	demandRefusal(t, Probe(t.Context(), DialOptions{URL: s.URL()}), "subjects are x")
	s.Stop()
	if err := Probe(t.Context(), impatient(s.URL())); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("with the server down: %v", err)
	}
}
