package jetstream

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
)

// The traps of JetStream, one test each.

func TestTrapConfirmIsNotSynced(t *testing.T) {
	t.Parallel()
	b := open(t, Options{Dir: t.TempDir(), SyncInterval: 3 * time.Second})
	if got := b.server.srv.JetStreamConfig().SyncInterval; got != 3*time.Second {
		t.Errorf("the server syncs every %v; its own default of two minutes must not be in force", got)
	}
	if got := b.Features().SafeDelay; got <= 6*time.Second {
		t.Errorf("SafeDelay is %v; it must exceed two intervals", got)
	}
	always := open(t, Options{Dir: t.TempDir(), SyncAlways: true})
	if got := always.Features().SafeDelay; got != 0 || !always.server.srv.JetStreamConfig().SyncAlways {
		t.Errorf("SafeDelay is %v with sync always", got)
	}
}

func TestTrapNothingEvicts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, Options{Dir: dir})
	s, err := b.js.Stream(t.Context(), Stream)
	if err != nil {
		t.Fatal(err)
	}
	c := s.CachedInfo().Config
	if c.MaxBytes != -1 || c.MaxMsgs != -1 || c.MaxAge != 0 || c.MaxMsgsPerSubject > 0 {
		t.Errorf("limits that drop unread messages: %+v", c)
	}
	if c.Retention != jetstream.LimitsPolicy || c.Storage != jetstream.FileStorage {
		t.Errorf("retention %v, storage %v", c.Retention, c.Storage)
	}
	// By default the server takes a share of the free disk, at each start anew.
	js := b.server.srv.JetStreamConfig()
	if js.MaxStore != math.MaxInt64 {
		t.Errorf("the server stores %d bytes at the most", js.MaxStore)
	}
	if !strings.HasPrefix(js.StoreDir, dir) {
		t.Errorf("the server stores in %s", js.StoreDir)
	}
	if _, err := Open(t.Context(), Options{}); err == nil || !strings.Contains(err.Error(), "Dir") {
		t.Errorf("without Dir: %v; it must not fall back to a temporary folder", err)
	}
}

func TestTrapStalledWindowDropsNothing(t *testing.T) {
	t.Parallel()
	gate := newGate()
	b := open(t, Options{Dir: t.TempDir(), Window: 4, wire: gate.tap})
	thaw := gate.freeze(t)
	defer thaw()
	results := make(chan error, 5)
	for range 4 {
		publishTo(t, b, results)
	}
	blocked := make(chan error, 1)
	go func() { blocked <- b.Publish(t.Context(), newMessage(t), func(err error) { results <- err }) }()
	select { // the client library gives up after 200 ms
	case err := <-blocked:
		t.Errorf("Publish returned %v while the window was full", err)
	case <-time.After(400 * time.Millisecond):
	}
	thaw()
	if err := receive(t, blocked); err != nil {
		t.Error(err)
	}
	for range 5 {
		if err := receive(t, results); err != nil {
			t.Error(err)
		}
	}
}

// TestTrapReconnectFailsWhatIsStored: failed, but happened.
func TestTrapReconnectFailsWhatIsStored(t *testing.T) {
	t.Parallel()
	gate := newGate()
	b := open(t, Options{Dir: t.TempDir(), wire: gate.tap})
	thaw := gate.freeze(t)
	results := make(chan error, 20)
	var sent []bus.Message
	for range 10 {
		sent = append(sent, publishTo(t, b, results))
	}
	waitStored(t, b, 10) // only the answers are held back
	gate.cut()
	thaw()
	for range sent {
		if err := receive(t, results); !errors.Is(err, errDisconnected) {
			t.Errorf("after the cut: %v, want a report that it may be stored", err)
		}
	}
	for _, m := range sent {
		for retry(t, b, m) != nil { // until the connection is back
			if t.Context().Err() != nil {
				t.Fatal("the connection did not come back")
			}
		}
	}
	if n := stored(t, b); n != 10 {
		t.Errorf("%d messages stored, want 10: sending again must not double them", n)
	}
}

func TestTrapConsumerSurvivesReconnect(t *testing.T) {
	t.Parallel()
	gate := newGate()
	b := open(t, Options{Dir: t.TempDir(), wire: gate.tap})
	results := make(chan error, 300)
	var sent, got []bloodbank.EventID
	for range 200 {
		sent = append(sent, publishTo(t, b, results).ID)
	}
	for range sent {
		if err := receive(t, results); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cuts := 0
	err := b.Consume(ctx, bus.Consumer{Group: "g", MaxBatch: 10}, func(_ context.Context, batch []bus.Delivery) error {
		if cuts++; cuts%5 == 0 && cuts < 40 {
			gate.cut() // its acknowledgement, and what is fetched ahead, are lost
		}
		for _, d := range batch {
			got = append(got, d.ID)
		}
		if d := batch[len(batch)-1]; d.ID == sent[len(sent)-1] {
			cancel()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// Some come twice; but never one after a gap.
	next := 0
	for _, id := range got {
		if next < len(sent) && id == sent[next] {
			next++
		}
	}
	if next != len(sent) {
		t.Errorf("%d of %d messages came in order", next, len(sent))
	}
}

func TestTrapDuplicateIsSuccess(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		`{"stream":"BLOODBANK_EVENTS","seq":7}`:                                      "",
		`{"stream":"BLOODBANK_EVENTS", "seq":7,"duplicate": true}`:                   "",
		`{"stream":"BLOODBANK_EVENTS","seq":7,"domain":"x","duplicate":true}`:        "",
		`{"seq":7,"stream":"BLOODBANK_EVENTS"}`:                                      "",
		`{"stream":"OTHER","seq":7}`:                                                 "OTHER",
		`{"error":{"code":503,"err_code":10077,"description":"no space"},"seq":0}`:   "no space",
		`{"stream":"BLOODBANK_EVENTS","error":{"err_code":10077,"description":"x"}}`: "x",
		`{"error":{"code":400,"err_code":10054,"description":"too big"}}`:            "rejected",
		`+ACK`: "unreadable",
		``:     "unreadable",
	} {
		err := readConfirm(&nats.Msg{Data: []byte(data)})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", data, err, want)
		}
	}
	nobody := &nats.Msg{Header: nats.Header{"Status": {"503"}}}
	if err := readConfirm(nobody); !errors.Is(err, errNoStream) {
		t.Errorf("no responders: %v", err)
	}
}

// TestTrapLateConfirm: an answer that comes after its deadline, or twice, must
// not confirm the message that has the place now.
func TestTrapLateConfirm(t *testing.T) {
	t.Parallel()
	gate := newGate()
	b := open(t, Options{Dir: t.TempDir(), Window: 1, ConfirmTimeout: 100 * time.Millisecond, wire: gate.tap})
	thaw := gate.freeze(t)
	defer thaw()
	results := make(chan error, 2)
	publishTo(t, b, results)
	if err := receive(t, results); !errors.Is(err, errUnconfirmed) {
		t.Fatalf("after the deadline: %v", err)
	}
	first, _ := b.pub.register(func(error) {}, "a.b.c", 1)
	if _, ok := b.pub.resolve(first); !ok {
		t.Fatal("the first was not waiting")
	}
	second, _ := b.pub.register(func(error) {}, "a.b.c", 1)
	if _, ok := b.pub.resolve(first); ok || first == second {
		t.Errorf("%s confirmed %s", first, second)
	}
	for _, junk := range []string{"", "x", b.pub.prefix, b.pub.prefix + "zz-1", b.pub.prefix + "-1-1", b.pub.prefix + "0"} {
		if _, ok := b.pub.resolve(junk); ok {
			t.Errorf("%q confirmed something", junk)
		}
	}
	if _, ok := b.pub.resolve(second); !ok {
		t.Error("the second was not waiting")
	}
}

func TestTrapPayloadLimit(t *testing.T) {
	t.Parallel()
	b := open(t, Options{Dir: t.TempDir()})
	m := newMessage(t)
	m.Data = make([]byte, 2<<20) // twice the server's default limit
	if err := retry(t, b, m); err != nil {
		t.Error(err)
	}
	m.Data = make([]byte, b.Features().MaxMessage+1)
	if err := retry(t, b, m); !errors.Is(err, bus.ErrRejected) {
		t.Errorf("too large: %v", err)
	}
}

// TestTrapLargeMessagesAreNotDropped: client and server both cut off who has
// more than 64 MiB waiting.
func TestTrapLargeMessagesAreNotDropped(t *testing.T) {
	t.Parallel()
	b := open(t, Options{Dir: t.TempDir()})
	const count = 24
	data := bytes.Repeat([]byte("x"), 4<<20)
	results := make(chan error, count)
	for range count {
		m := newMessage(t)
		m.Data = data
		if err := b.Publish(t.Context(), m, func(err error) { results <- err }); err != nil {
			t.Fatal(err)
		}
	}
	for range count {
		if err := receive(t, results); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := 0
	err := b.Consume(ctx, bus.Consumer{Group: "g"}, func(_ context.Context, batch []bus.Delivery) error {
		for _, d := range batch {
			if len(d.Data) != len(data) || d.Attempt != 1 {
				t.Errorf("%d bytes at attempt %d", len(d.Data), d.Attempt)
			}
		}
		if got += len(batch); got >= count {
			cancel()
		}
		return nil
	})
	if err != nil || got != count {
		t.Errorf("%d messages, %v", got, err)
	}
}

func TestTrapSignalsAreOurs(t *testing.T) {
	t.Parallel()
	open(t, Options{Dir: t.TempDir()})
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGINT)
	defer signal.Stop(got)
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	receive(t, got) // the server's own handler would end the process
}

func TestTrapOneOwnerOfAFolder(t *testing.T) {
	t.Parallel()
	o := Options{Dir: t.TempDir()}
	b := open(t, o)
	if _, err := Open(t.Context(), o); !errors.Is(err, errInUse) {
		t.Errorf("second Open: %v", err)
	}
	closeBus(t, b)
	open(t, o) // free again
}

// TestTrapConsumerAheadOfStream is a power cut: the tail of the stream is gone, the consumer's file is not.
// New messages take the lost sequences; the group must not skip them.
func TestTrapConsumerAheadOfStream(t *testing.T) {
	t.Parallel()
	o := Options{Dir: t.TempDir()}
	msgs := filepath.Join(o.Dir, "jetstream", "$G", "streams", Stream, "msgs")
	saved := filepath.Join(t.TempDir(), "msgs")
	b := open(t, o)
	confirm(t, b, 10)
	closeBus(t, b)
	if err := os.CopyFS(saved, os.DirFS(msgs)); err != nil {
		t.Fatal(err)
	}
	b = open(t, o)
	lost := confirm(t, b, 10)
	drain(t, b, "g", 20)
	closeBus(t, b)
	if err := errors.Join(os.RemoveAll(msgs), os.CopyFS(msgs, os.DirFS(saved))); err != nil {
		t.Fatal(err)
	}
	b = open(t, o)
	held, err := b.Recall(t.Context(), time.Unix(0, 0))
	if err != nil || len(held) != 10 {
		t.Fatalf("%d ids recalled, %v; want the 10 that were synced", len(held), err)
	}
	results := make(chan error, len(lost))
	for _, m := range lost { // what the owner of the log does
		if _, ok := held[m.ID]; ok {
			t.Fatalf("%s should be lost", m.ID)
		}
		if err := b.Publish(t.Context(), m, func(err error) { results <- err }); err != nil {
			t.Fatal(err)
		}
	}
	for range lost {
		if err := receive(t, results); err != nil {
			t.Fatal(err)
		}
	}
	got := drain(t, b, "g", 10)
	for i, m := range lost {
		if got[i].ID != m.ID {
			t.Errorf("message %d is %s, want %s", i, got[i].ID, m.ID)
		}
	}
}

func TestTrapDeliversForEver(t *testing.T) {
	t.Parallel()
	b := open(t, Options{Dir: t.TempDir()})
	confirm(t, b, 1)
	drain(t, b, "g", 1)
	c, err := b.js.Consumer(t.Context(), Stream, "g")
	if err != nil {
		t.Fatal(err)
	}
	if cfg := c.CachedInfo().Config; cfg.MaxDeliver != -1 || cfg.InactiveThreshold != 0 || cfg.Durable != "g" {
		t.Errorf("the server may give up or forget the group: %+v", cfg)
	}
}

// TestTrapServerStopsStoring: after a write error, or with JetStream disabled,
// an embedded server must come back without a restart of the process.
func TestTrapServerStopsStoring(t *testing.T) {
	t.Parallel()
	b := open(t, Options{Dir: t.TempDir()})
	confirm(t, b, 5)
	if err := b.server.srv.DisableJetStream(); err != nil {
		t.Fatal(err)
	}
	m := newMessage(t)
	if err := retry(t, b, m); !errors.Is(err, errNoStream) {
		t.Errorf("with JetStream off: %v", err)
	}
	for retry(t, b, m) != nil {
		if t.Context().Err() != nil {
			t.Fatal("it did not come back")
		}
	}
	drain(t, b, "g", 6)
}

func TestTrapFullDisk(t *testing.T) {
	t.Parallel()
	_, lines := child(t, "full "+t.TempDir())
	for _, want := range []string{"full", "back"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("the child said %q, want %q (%v)", lines.Text(), want, lines.Err())
		}
	}
}

// TestTrapKill: what was confirmed survives kill -9.
func TestTrapKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd, lines := child(t, "publish "+dir)
	var confirmed []bloodbank.EventID
	for lines.Scan() {
		id, err := bloodbank.ParseEventID(lines.Text())
		if err != nil {
			break // the last line may be torn
		}
		if confirmed = append(confirmed, id); len(confirmed) == 3000 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(confirmed) < 3000 {
		t.Fatalf("%d messages confirmed", len(confirmed))
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the child was not killed")
	}
	held, err := open(t, Options{Dir: dir}).Recall(t.Context(), time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range confirmed {
		if _, ok := held[id]; !ok {
			t.Fatalf("%s was confirmed and is gone", id)
		}
	}
}
