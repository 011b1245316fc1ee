package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/gateway"
	"github.com/33god/bloodbank/httpapi"
	"github.com/33god/bloodbank/live"
	"github.com/33god/bloodbank/schema"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlite"
	"github.com/33god/bloodbank/wal"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// bundle is a running server with real parts behind it; only the bus is left
// out: a follower carries events from the log to the store.
type bundle struct {
	t      *testing.T
	url    string
	addr   string
	log    *wal.Log
	store  *sqlite.Store
	hub    *live.Hub
	flow   *flow
	api    *httpapi.Server
	server *http.Server
	logged *syncBuffer
	conns  sync.Map // of net.Conn
}

func (b *bundle) track(c net.Conn, state http.ConnState) {
	if state == http.StateClosed {
		b.conns.Delete(c)
		return
	}
	b.conns.Store(c, true)
}

// cutStreams breaks every connection, as a failing network does.
func (b *bundle) cutStreams() {
	b.conns.Range(func(c, _ any) bool {
		_ = c.(net.Conn).Close()
		return true
	})
	http.DefaultClient.CloseIdleConnections() // those are dead now, too
}

func setup(t *testing.T, change ...func(*httpapi.Options)) *bundle {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	b := &bundle{t: t, logged: new(syncBuffer)}
	dir := t.TempDir()
	var err error
	b.log, err = wal.Open(ctx, wal.Options{Dir: filepath.Join(dir, "wal"), SegmentSize: 16 << 20})
	must(t, err)
	t.Cleanup(func() { must(t, b.log.Close()) })
	b.store, err = sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(dir, "events.db")})
	must(t, err)
	t.Cleanup(func() { must(t, b.store.Close()) })
	b.hub = live.New(live.Options{Store: b.store, Poll: time.Hour})
	must(t, b.hub.Start(ctx))
	t.Cleanup(func() { must(t, b.hub.Stop(ctx)) })
	schemas, err := schema.Open(ctx, schema.Options{})
	must(t, err)
	b.flow = startFlow(t, b.log, b.store, b.hub)

	o := httpapi.Options{
		Gateway: gateway.New(gateway.Options{Log: b.log, Schemas: schemas, Archive: b.store, Progress: b.flow, WaitTimeout: patience, Host: "testhost"}),
		Store:   b.store, Tracker: b.store, Schemas: schemas, Live: b.hub, Version: "1.2.3",
		Logger: slog.New(slog.NewTextHandler(b.logged, nil)),
	}
	for _, f := range change {
		f(&o)
	}
	b.api = httpapi.New(o)
	b.server = b.api.HTTPServer()
	b.server.ConnState = b.track
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	b.addr = listener.Addr().String()
	b.url = "http://" + b.addr
	var served sync.WaitGroup
	served.Go(func() { _ = b.server.Serve(listener) })
	t.Cleanup(func() {
		stop, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		must(t, b.server.Shutdown(stop))
		must(t, b.api.Drain(stop))
		served.Wait()
		http.DefaultClient.CloseIdleConnections()
	})
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answer is what came back.
type answer struct {
	*http.Response
	body []byte
}

// do sends a request; headers are name, value, name, value.
func (b *bundle) do(method, path, body string, headers ...string) answer {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, bytes.NewReader([]byte(body)))
	must(b.t, err)
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	must(b.t, err)
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	must(b.t, err)
	return answer{response, data}
}

// into reads the answer, which must have this status.
func (b *bundle) into(a answer, status int, v any) {
	b.t.Helper()
	if a.StatusCode != status {
		b.t.Fatalf("status %d, want %d: %s", a.StatusCode, status, a.body)
	}
	if err := json.Unmarshal(a.body, v); err != nil {
		b.t.Fatalf("%v: %s", err, a.body)
	}
}

// publish publishes an event and waits until it is stored.
func (b *bundle) publish(body string) bloodbank.Receipt {
	b.t.Helper()
	var receipt bloodbank.Receipt
	b.into(b.do("POST", "/events?wait=stored&permissive=true", body, "Content-Type", "application/json"), 200, &receipt)
	return receipt
}

// fill stores n events past the log, which takes less time; change may alter them.
func (b *bundle) fill(n int, change func(i int, e *bloodbank.Envelope)) {
	for first := 0; first < n; first += 500 {
		var batch store.Batch
		for i := first; i < min(n, first+500); i++ {
			id, err := bloodbank.NewEventID()
			if err != nil {
				b.t.Error(err)
				return
			}
			e := bloodbank.Envelope{
				EventID: id, EventType: "my.own", Timestamp: filledFrom().Add(time.Duration(i) * time.Second), Version: bloodbank.Version,
				Source:  bloodbank.Source{Host: "h", Type: bloodbank.SourceManual, App: "filler"},
				Payload: fmt.Appendf(nil, `{"n":%d}`, i),
			}
			if change != nil {
				change(i, &e)
			}
			raw, err := e.AppendJSON(nil)
			if err != nil {
				b.t.Error(err)
				return
			}
			batch.Events = append(batch.Events, store.Incoming{Envelope: e, Raw: raw})
		}
		appended, err := b.store.Append(context.WithoutCancel(b.t.Context()), batch)
		if err != nil {
			b.t.Error(err)
			return
		}
		b.hub.Wake(appended.Last)
	}
}

func filledFrom() time.Time { return time.Date(2026, 1, 27, 10, 0, 0, 0, time.UTC) }

// flow carries events from the log to the store and says how far it has come.
type flow struct {
	store *sqlite.Store
	mu    sync.Mutex
	last  uint64
	moved chan struct{}
}

func startFlow(t *testing.T, log *wal.Log, to *sqlite.Store, hub *live.Hub) *flow {
	f := &flow{store: to, moved: make(chan struct{})}
	reader, err := log.NewReader(1)
	must(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() {
		for {
			record, err := reader.Next(ctx)
			if err != nil {
				return
			}
			e, err := bloodbank.DecodeEnvelope(record.Data)
			if err != nil {
				t.Error(err)
				return
			}
			appended, err := to.Append(ctx, store.Batch{Events: []store.Incoming{{Envelope: e, Raw: bytes.Clone(record.Data)}}})
			if err != nil {
				return
			}
			hub.Wake(appended.Last)
			f.mu.Lock()
			f.last = record.Seq
			close(f.moved)
			f.moved = make(chan struct{})
			f.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
		_ = reader.Close()
	})
	return f
}

func (f *flow) Confirmed(ctx context.Context, sequence uint64) error {
	return f.wait(ctx, func() bool { return f.last >= sequence })
}

func (f *flow) Stored(ctx context.Context, id bloodbank.EventID) error {
	return f.wait(ctx, func() bool {
		_, err := f.store.Get(context.WithoutCancel(ctx), id)
		return err == nil
	})
}

func (f *flow) wait(ctx context.Context, done func() bool) error {
	for {
		f.mu.Lock()
		moved, ok := f.moved, done()
		f.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// syncBuffer is a log that a test can read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}
