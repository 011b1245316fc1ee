package rabbit

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus/rabbitmq"
	"github.com/33god/bloodbank/dispatch"
	"github.com/33god/bloodbank/gateway"
	"github.com/33god/bloodbank/internal/testenv"
	"github.com/33god/bloodbank/recorder"
	"github.com/33god/bloodbank/schema"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlite"
)

// The events of one round.
const (
	producers   = 64
	wholePath   = 30_000
	naivePath   = 5_000
	naivePath1  = 1_000
	consumerTag = "naive"
)

// BenchmarkPath is accept → log → dispatch → quorum queue → recorder → SQLite with
// 64 producers, against the same without us: as many producers that wait for the
// confirm of each message, and a consumer that stores each in a transaction of
// its own. The naive one with a single producer is what the original did.
func BenchmarkPath(b *testing.B) {
	r := testenv.PrivateRabbitMQ(b)
	ours := newPath(b, r.URL())
	other := newNaive(b, r.URL())
	var whole, naive, naive1 time.Duration
	n := 0
	for b.Loop() {
		turns := []func(){
			func() { whole += ours.run(b, wholePath) },
			func() { naive += other.run(b, producers, naivePath) },
			func() { naive1 += other.run(b, 1, naivePath1) },
		}
		for i := range turns {
			turns[(i+n)%len(turns)]()
		}
		n++
	}
	path := rate(n*wholePath, whole)
	b.ReportMetric(path, "path/s")
	b.ReportMetric(rate(n*naivePath, naive), "naive/s")
	b.ReportMetric(rate(n*naivePath1, naive1), "naive1/s")
	b.ReportMetric(path/rate(n*naivePath, naive), "path÷naive")
	b.ReportMetric(path/rate(n*naivePath1, naive1), "path÷naive1")
}

type path struct {
	gateway *gateway.Gateway
	store   *sqlite.Store
	stored  chan int64 // the newest sequence, of which only the last counts
}

func newPath(b *testing.B, url string) *path {
	b.Helper()
	p := &path{store: openStore(b), stored: make(chan int64, 1)}
	l := openLogs(b)
	driver := openBus(b, rabbitmq.Options{URL: url, Exchange: "ours", Groups: []string{recorder.Group}, Window: window})
	schemas, err := schema.Open(b.Context(), schema.Options{})
	if err != nil {
		b.Fatal(err)
	}
	d, err := dispatch.New(dispatch.Options{Log: l.events, Publisher: driver, Dead: l.dead})
	if err != nil {
		b.Fatal(err)
	}
	rec := recorder.New(recorder.Options{Subscriber: driver, Store: p.store, Committed: func(last int64) {
		select {
		case <-p.stored:
		default:
		}
		p.stored <- last
	}})
	if err := d.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	if err := rec.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		for _, stop := range []func(context.Context) error{d.Stop, rec.Stop} {
			if err := stop(context.WithoutCancel(b.Context())); err != nil {
				b.Error(err)
			}
		}
	})
	p.gateway = gateway.New(gateway.Options{Log: l.events, Schemas: schemas, Archive: p.store})
	return p
}

func openStore(b *testing.B) *sqlite.Store {
	b.Helper()
	s, err := sqlite.Open(b.Context(), sqlite.Options{Path: filepath.Join(b.TempDir(), "events.db")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// run returns how long n events take from the first accept until all are stored.
func (p *path) run(b *testing.B, n int) time.Duration {
	before, err := p.store.Last(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return stopwatch(func() {
		share(producers, n, func(int, int) {
			if _, err := p.gateway.Accept(b.Context(), gateway.Request{Envelope: envelope()}); err != nil {
				b.Error(err)
			}
		})
		for at := before; at < before+int64(n); {
			select {
			case at = <-p.stored:
			case <-time.After(time.Minute):
				b.Fatalf("%d of %d events are stored", at-before, n)
			}
		}
	})
}

type naive struct {
	side     side
	channels []*amqp.Channel
	store    *sqlite.Store
	stored   atomic.Int64
	progress chan struct{}
}

func newNaive(b *testing.B, url string) *naive {
	b.Helper()
	c := dial(b, url)
	n := &naive{side: newSide(b, channel(b, c), "naive"), store: openStore(b), progress: make(chan struct{}, 1)}
	for range producers {
		n.channels = append(n.channels, confirming(b, c))
	}
	from := channel(b, dial(b, url))
	if err := from.Qos(100, 0, false); err != nil {
		b.Fatal(err)
	}
	deliveries, err := from.Consume(n.side.queue, consumerTag, false, false, false, false, nil)
	if err != nil {
		b.Fatal(err)
	}
	var consumer sync.WaitGroup
	consumer.Go(func() {
		for d := range deliveries {
			if err := n.record(context.WithoutCancel(b.Context()), d); err != nil {
				b.Error(err)
			}
		}
	})
	b.Cleanup(func() {
		_ = from.Cancel(consumerTag, false)
		consumer.Wait()
	})
	return n
}

// record is one transaction and one acknowledgement for each event.
func (n *naive) record(ctx context.Context, d amqp.Delivery) error {
	e, err := bloodbank.DecodeEnvelope(d.Body)
	if err != nil {
		return err
	}
	if _, err := n.store.Append(ctx, store.Batch{Events: []store.Incoming{{Envelope: e, Raw: d.Body}}}); err != nil {
		return err
	}
	n.stored.Add(1)
	select {
	case n.progress <- struct{}{}:
	default:
	}
	return d.Ack(false)
}

func (n *naive) run(b *testing.B, workers, count int) time.Duration {
	goal := n.stored.Load() + int64(count)
	return stopwatch(func() {
		share(workers, count, func(worker, _ int) {
			c, err := n.channels[worker].PublishWithDeferredConfirm(n.side.exchange, eventType, true, false, publishing(newMessage(b)))
			if err != nil || !c.Wait() {
				b.Errorf("not confirmed: %v", err)
			}
		})
		for n.stored.Load() < goal {
			select {
			case <-n.progress:
			case <-time.After(time.Minute):
				b.Fatalf("%d events are missing", goal-n.stored.Load())
			}
		}
	})
}
