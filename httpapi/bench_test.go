package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/gateway"
	"github.com/33god/bloodbank/httpapi"
	"github.com/33god/bloodbank/live"
	"github.com/33god/bloodbank/schema"
	"github.com/33god/bloodbank/wal"
)

const (
	benchConnections = 64
	benchArray       = 100
	benchRounds      = 9
	benchRound       = 300 * time.Millisecond
	benchEvent       = `{"event_type":"transcription.voice.completed","source":{"host":"box","type":"manual","app":"bench","meta":null},` +
		`"payload":{"text":"turn on the lights in the living room and tell me what the weather is going to be like tomorrow",` +
		`"timestamp":"2026-01-27T10:00:00.123456Z","source":"whisperlivekit","session_id":"0198c0de-0000-7000-8000-000000000001",` +
		`"target":"tonny","audio_metadata":{"duration_seconds":4.21,"sample_rate":16000,"confidence":0.93,"language":"en"},` +
		`"context":{"device_type":"desktop","user_id":"u-1","tags":["kitchen","evening"]}}}`
)

// acceptAll stands for a registry that checks nothing.
type acceptAll struct{}

func (acceptAll) Validate(bloodbank.EventType, []byte) error           { return nil }
func (acceptAll) ValidatePermissive(bloodbank.EventType, []byte) error { return nil }

// BenchmarkRatios compares, in rounds that take turns so that a busy machine hits
// all alike: a handler that does nothing, a durable POST of one event, the same
// with validation, and arrays. The clients are Go's own, in this process. Run it
// with -benchtime=1x.
func BenchmarkRatios(b *testing.B) { benchmarkRatios(b, newStandardClient) }

// BenchmarkRatiosRaw is the same with clients that cost next to nothing, so that
// only the server is compared. It is no bar: against a handler that does nothing
// the kernel's work for the connection then counts for most of the time.
func BenchmarkRatiosRaw(b *testing.B) { benchmarkRatios(b, newRawClient) }

func benchmarkRatios(b *testing.B, dial dialer) {
	loads := newLoads(b, dial)
	for b.Loop() {
		for range benchRounds {
			for _, l := range loads {
				l.round(b)
			}
		}
	}
	for _, l := range loads {
		b.ReportMetric(l.median(), l.name+"/s")
	}
	b.ReportMetric(loads[1].median()/loads[0].median(), "durable:noop")
	b.ReportMetric(loads[2].median()/loads[0].median(), "validated:noop")
	b.ReportMetric(loads[2].median()/loads[1].median(), "validated:durable")
	b.ReportMetric(loads[3].median()/loads[2].median(), "array:validated")
	b.ReportMetric(loads[4].median()/loads[0].median(), "door:noop")
}

// BenchmarkPublish is one kind of request at a time, for a profile.
func BenchmarkPublish(b *testing.B) {
	for i, name := range []string{"noop", "durable", "validated", "array", "door"} {
		b.Run(name, func(b *testing.B) {
			l := newLoads(b, newRawClient)[i]
			for b.Loop() {
				l.round(b)
			}
			b.ReportMetric(l.median(), "events/s")
		})
	}
}

func newLoads(b *testing.B, dial dialer) []*load {
	registry, err := schema.Open(b.Context(), schema.Options{})
	if err != nil {
		b.Fatal(err)
	}
	event := []byte(benchEvent)
	array := []byte("[" + strings.TrimSuffix(strings.Repeat(benchEvent+",", benchArray), ",") + "]")
	noop := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	idle := httpapi.New(httpapi.Options{Gateway: acceptFunc(func(_ context.Context, r []gateway.Request) ([]bloodbank.Receipt, error) {
		return make([]bloodbank.Receipt, len(r)), nil
	})})
	return []*load{
		newLoad(b, dial, "noop", noop, event, 1),
		newLoad(b, dial, "durable", durable(b, acceptAll{}, registry), event, 1),
		newLoad(b, dial, "validated", durable(b, registry, registry), event, 1),
		newLoad(b, dial, "array", durable(b, registry, registry), array, benchArray),
		newLoad(b, dial, "door", idle, event, 1), // reads, decodes, answers; accepts nothing
	}
}

func durable(b *testing.B, schemas gateway.Schemas, registry *schema.Registry) http.Handler {
	log, err := wal.Open(b.Context(), wal.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = log.Close() })
	if err := log.Settle(b.Context()); err != nil {
		b.Fatal(err)
	}
	return httpapi.New(httpapi.Options{
		Gateway: gateway.New(gateway.Options{Log: truncated{log}, Schemas: schemas}),
		Schemas: registry, Live: live.New(live.Options{}),
	})
}

// load is one kind of request on connections of its own.
type load struct {
	name    string
	body    []byte
	events  int
	clients []poster
	rates   []float64
}

func newLoad(b *testing.B, dial dialer, name string, handler http.Handler, body []byte, events int) *load {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := httpapi.New(httpapi.Options{}).HTTPServer() // the same limits for all
	server.Handler = handler
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(listener) })
	b.Cleanup(func() { _ = server.Close(); served.Wait() })
	l := &load{name: name, events: events, body: body}
	for range benchConnections {
		l.clients = append(l.clients, dial(b, listener.Addr().String()))
	}
	return l
}

// round sends for a while on all connections and notes the rate of events.
func (l *load) round(b *testing.B) {
	var done atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for _, c := range l.clients {
		wg.Go(func() {
			for time.Since(began) < benchRound {
				if err := c.post(l.body); err != nil {
					b.Error(l.name, err)
					return
				}
				done.Add(int64(l.events))
			}
		})
	}
	wg.Wait()
	l.rates = append(l.rates, float64(done.Load())/time.Since(began).Seconds())
}

func (l *load) median() float64 {
	sorted := slices.Sorted(slices.Values(l.rates))
	return sorted[len(sorted)/2]
}

// poster is a client with one connection.
type poster interface{ post(body []byte) error }

type dialer func(b *testing.B, address string) poster

// standardClient is Go's own.
type standardClient struct {
	client *http.Client
	url    string
}

func newStandardClient(b *testing.B, address string) poster {
	transport := &http.Transport{}
	b.Cleanup(transport.CloseIdleConnections)
	return standardClient{&http.Client{Transport: transport}, "http://" + address + "/events"}
}

func (c standardClient) post(body []byte) error {
	response, err := c.client.Post(c.url, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusAccepted {
		err = fmt.Errorf("answered %s", response.Status)
	}
	_, copyErr := io.Copy(io.Discard, response.Body)
	return errors.Join(err, copyErr, response.Body.Close())
}

// rawClient costs next to nothing.
type rawClient struct {
	net.Conn
	in      *bufio.Reader
	request []byte
}

func newRawClient(b *testing.B, address string) poster {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return &rawClient{Conn: conn, in: bufio.NewReaderSize(conn, 16<<10)}
}

func (c *rawClient) post(body []byte) error {
	if c.request == nil {
		c.request = append(fmt.Appendf(nil, "POST /events HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", c.RemoteAddr(), len(body)), body...)
	}
	if _, err := c.Write(c.request); err != nil {
		return err
	}
	length, first := 0, true
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 202")) {
			return fmt.Errorf("answered %q", line)
		}
		first = false
		if len(line) == 2 {
			_, err := io.CopyN(io.Discard, c.in, int64(length))
			return err
		}
		if value, found := bytes.CutPrefix(line, []byte("Content-Length: ")); found {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
}

// truncated gives records away at once, as a log does whose bus keeps up.
type truncated struct{ *wal.Log }

func (t truncated) Append(ctx context.Context, record []byte) (uint64, error) {
	seq, err := t.Log.Append(ctx, record)
	if err == nil && seq%8192 == 0 {
		err = t.Truncate(ctx, seq)
	}
	return seq, err
}

func (t truncated) AppendBatch(ctx context.Context, records [][]byte) (uint64, error) {
	seq, err := t.Log.AppendBatch(ctx, records)
	if err == nil && seq/8192 != (seq+uint64(len(records)))/8192 {
		err = t.Truncate(ctx, seq)
	}
	return seq, err
}
