package redis

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/correlation/correlationtest"
	"github.com/33god/bloodbank/internal/testenv"
	"github.com/33god/bloodbank/recorder"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlite"
)

// house is a store, a Redis behind a proxy, the follower between them, and the
// tracker that asks both, as a server has them.
type house struct {
	*testing.T
	store    *sqlite.Store
	server   *testenv.RedisServer
	proxy    *testenv.Proxy
	tracker  *Tracker
	links    *recorder.Links
	fallback *correlation.Fallback

	mu  sync.Mutex
	ids []bloodbank.EventID
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{T: t, server: testenv.Redis(t)}
	h.proxy = testenv.NewProxy(t, h.server.Addr())
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "store.db")})
	if err != nil {
		t.Fatal(err)
	}
	h.store = s
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	h.tracker = openTest(t, Options{Addr: h.proxy.Addr(), Timeout: time.Second, Lookup: s.Lookup})
	h.follow()
	return h
}

// follow starts a follower, and a tracker that asks both.
func (h *house) follow() {
	h.Helper()
	links := recorder.NewLinks(recorder.LinksOptions{Source: h.store, Keeper: h.tracker, MaxAge: DefaultTTL, MaxBatch: 100, Poll: 200 * time.Millisecond})
	if err := links.Start(h.Context()); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() {
		if err := links.Stop(context.WithoutCancel(h.Context())); err != nil {
			h.Error(err)
		}
	})
	h.links = links
	h.fallback = correlation.NewFallback(correlation.FallbackOptions{Fast: h.tracker, Truth: h.store, Ready: links.Ready, MaxAge: DefaultTTL})
}

// record stores events and tells the follower, as the recorder does.
func (h *house) record(ctx context.Context, events ...bloodbank.Envelope) error {
	var batch store.Batch
	for _, e := range events {
		raw, err := e.AppendJSON(nil)
		if err != nil {
			return err
		}
		batch.Events = append(batch.Events, store.Incoming{Envelope: e, Raw: raw})
	}
	appended, err := h.store.Append(ctx, batch)
	if err == nil {
		h.links.Wake(appended.Last)
	}
	return err
}

// grow records n events with up to three parents each among those before.
func (h *house) grow(n int) {
	h.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	var events []bloodbank.Envelope
	for range n {
		e := bloodbank.Envelope{
			EventID: newIDs(h, 1)[0], EventType: "test.event.made", Timestamp: time.Now().UTC().Truncate(time.Microsecond), Version: bloodbank.Version,
			Source: bloodbank.Source{Host: "box", Type: bloodbank.SourceManual}, Payload: []byte(`{"n":` + strconv.Itoa(len(h.ids)) + `}`),
		}
		for range min(rand.IntN(4), len(h.ids)) {
			e.CorrelationIDs = append(e.CorrelationIDs, h.ids[max(len(h.ids)-1-rand.IntN(10), 0)])
		}
		h.ids, events = append(h.ids, e.EventID), append(events, e)
	}
	if err := h.record(h.Context(), events...); err != nil {
		h.Fatal(err)
	}
}

// same fails unless the answer of tracker is the store's, for any event. On a busy
// machine a Redis that works may seem silent for a moment.
func (h *house) same(tracker correlation.Tracker) {
	h.Helper()
	for range 4 {
		id := h.ids[rand.IntN(len(h.ids))]
		for _, d := range []correlation.Direction{correlation.Ancestors, correlation.Descendants} {
			l := correlation.Limits{MaxDepth: 1 + rand.IntN(200)}
			want := must(h.store.Chain(h.Context(), id, d, l))(h)
			var got correlation.Chain
			var err error
			testenv.Eventually(h, "an answer", func() bool {
				got, err = tracker.Chain(h.Context(), id, d, l)
				return bloodbank.CodeOf(err) != bloodbank.CodeUnavailable
			})
			if err != nil {
				h.Fatal(err)
			}
			if w, g := must(json.Marshal(want))(h), must(json.Marshal(got))(h); string(w) != string(g) {
				h.Fatalf("%s of %s\ngot  %s\nwant %s", d, id, g, w)
			}
		}
	}
}

// caughtUp waits until Redis has all that the store has, and compares.
func (h *house) caughtUp() {
	h.Helper()
	testenv.Eventually(h, "Redis has all links", func() bool {
		s := h.links.Status(h.Context())
		return s.Lag == 0 && s.Fault == "" && h.links.Ready()
	})
	testenv.Eventually(h, "nothing is missing", func() bool {
		missing, err := h.tracker.Missing(h.Context(), h.all()...)
		return err == nil && missing == 0
	})
	h.same(h.tracker)
}

func (h *house) all() (events []bloodbank.Envelope) {
	h.Helper()
	for after := int64(0); ; {
		page := must(h.store.After(h.Context(), after, 500))(h)
		if len(page) == 0 {
			return events
		}
		for _, e := range page {
			events = append(events, e.Envelope)
		}
		after = page[len(page)-1].Sequence
	}
}

// TestFollowerThroughFaults: whatever happens to Redis meanwhile, recording goes
// on, answers are the store's, and in the end Redis has every link.
func TestFollowerThroughFaults(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]struct{ begin, end func(h *house) }{
		"stalled":             {func(h *house) { h.server.Freeze() }, func(h *house) { h.server.Thaw() }},
		"killed":              {func(h *house) { h.server.Kill() }, func(h *house) { h.server.Start() }},
		"restarted empty":     {func(h *house) { h.server.Restart() }, func(*house) {}},
		"flushed":             {func(h *house) { must(plain(h, h.server.Addr()).FlushAll(h.Context()).Result())(h) }, func(*house) {}},
		"cut in mid-reply":    {func(h *house) { h.proxy.ResetAfter(testenv.ToClient, 700) }, func(h *house) { h.proxy.Heal() }},
		"cut in mid-request":  {func(h *house) { h.proxy.ResetAfter(testenv.ToServer, 700) }, func(h *house) { h.proxy.Heal() }},
		"failed but happened": {func(h *house) { h.proxy.Drop(testenv.ToClient) }, func(h *house) { h.proxy.Heal() }},
		"half open":           {func(h *house) { h.proxy.HalfOpen() }, func(h *house) { h.proxy.Heal() }},
		"cut off":             {func(h *house) { h.proxy.Cut() }, func(h *house) { h.proxy.Heal() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.grow(60)
			h.caughtUp()
			f.begin(h)
			for range 3 {
				h.grow(20)
				h.same(h.fallback)
			}
			f.end(h)
			h.grow(10)
			h.same(h.fallback)
			h.caughtUp()
			h.same(h.fallback)
		})
	}
}

// TestFollowerRestarts: a server that was away goes on where it ended, and one
// whose Redis was flushed while it was away begins again.
func TestFollowerRestarts(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.grow(300)
	h.caughtUp()
	for _, flushed := range []bool{false, true} {
		if err := h.links.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.grow(60)
		if flushed {
			must(plain(t, h.server.Addr()).FlushAll(t.Context()).Result())(t)
		}
		h.follow()
		h.same(h.fallback) // still catching up
		h.caughtUp()
		missing := 60
		if flushed {
			missing = 360
		}
		// Events without parents have no links, so there are a few less.
		if written := h.links.Status(t.Context()).Written; written > uint64(missing+60) || !flushed && written > 60 || flushed && written < 200 {
			t.Errorf("flushed %t: %d links written", flushed, written)
		}
	}
}

// TestFallbackSuite: the tracker of a server passes the suite, while events are
// on their way from the store to Redis all the time.
func TestFallbackSuite(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	correlationtest.Run(t, func(*testing.T) correlationtest.Subject {
		return correlationtest.Subject{Tracker: h.fallback, Add: h.record}
	})
}

// TestFallbackUsesRedis: it is no fallback if it never asks Redis.
func TestFallbackUsesRedis(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.grow(50)
	h.caughtUp()
	h.same(h.fallback)
	if s := h.fallback.Status(); s.Fast == 0 || s.Fault != "" {
		t.Errorf("%+v", s)
	}
}

// TestSilentRedisIsAnsweredByTheStore: how long that takes is measured on a clock of
// its own, by TestFallbackBreaker.
func TestSilentRedisIsAnsweredByTheStore(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.grow(50)
	h.caughtUp()
	h.server.Freeze()
	defer h.server.Thaw()
	before := h.fallback.Status()
	for range 100 {
		must(h.fallback.Chain(t.Context(), h.ids[0], correlation.Descendants, correlation.Limits{MaxNodes: 5}))(t)
	}
	if s := h.fallback.Status(); s.Fast != before.Fast || s.Truth != before.Truth+100 {
		t.Errorf("%+v", s)
	}
}

// TestRebuildBesideWriters: a rebuild adds what is missing, beside a server that
// follows and a Python service that writes, and deletes nothing.
func TestRebuildBesideWriters(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.grow(400)
	h.caughtUp()
	c := plain(t, h.server.Addr())
	lost := 0
	for _, id := range h.ids {
		if rand.IntN(2) == 0 {
			lost += int(must(c.Del(t.Context(), forwardKey(id)).Result())(t))
		}
	}
	python := newIDs(t, 2)
	must(c.Set(t.Context(), forwardKey(python[1]), forwardValue(python[:1], time.Now(), json.RawMessage(`{"by":"python"}`)), time.Hour).Result())(t)
	before := must(c.DBSize(t.Context()).Result())(t)
	o := recorder.RebuildOptions{Source: h.store, Keeper: h.tracker, MaxAge: DefaultTTL, DryRun: true}
	if got := must(recorder.RebuildLinks(t.Context(), o))(t); got.Written != int64(lost) || must(c.DBSize(t.Context()).Result())(t) != before {
		t.Fatalf("dry run: %+v, want %d missing", got, lost)
	}
	o.DryRun, o.MaxBatch = false, 33
	o.Progress = func(int64, int64) { h.grow(1) }
	if got := must(recorder.RebuildLinks(t.Context(), o))(t); got.Written < int64(lost) || got.Events < 400 {
		t.Fatalf("%+v, want %d written", got, lost)
	}
	h.caughtUp()
	if got := must(h.tracker.Metadata(t.Context(), python[1]))(t); string(got) != `{"by":"python"}` {
		t.Errorf("%s", got)
	}
	if got := must(recorder.RebuildLinks(t.Context(), recorder.RebuildOptions{Source: h.store, Keeper: h.tracker}))(t); got.Written != 0 {
		t.Errorf("a second rebuild wrote %+v", got)
	}
}
