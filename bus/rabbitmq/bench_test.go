package rabbitmq

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/internal/testenv"
)

const benchWindow = 256

// BenchmarkPublish compares, in turn so that the machine's moods meet both alike,
// publishing through Bus with a bare pipelined amqp091 publisher of the same
// window, properties and queue type. The bar: at least 0.9 of bare on a quorum
// queue.
func BenchmarkPublish(b *testing.B) {
	for _, queueType := range []string{Quorum, Classic} {
		b.Run(queueType, func(b *testing.B) {
			r := testenv.RabbitMQ(b)
			fast := open(b, Options{URL: r.URL(), Groups: []string{"a"}, QueueType: queueType, Window: benchWindow})
			open(b, Options{URL: r.URL(), Exchange: "bare", Groups: []string{"b"}, QueueType: queueType})
			bare := raw(b, r.URL())
			if err := bare.Confirm(false); err != nil {
				b.Fatal(err)
			}
			msgs := benchMessages(b, 10_000)
			var viaBus, viaBare time.Duration
			n := 0
			for b.Loop() {
				viaBus += stopwatch(func() { publishAll(b, fast, msgs) })
				viaBare += stopwatch(func() { publishBare(b, bare, msgs) })
				n += len(msgs)
				empty(b, bare)
			}
			b.ReportMetric(float64(n)/viaBus.Seconds(), "bus/s")
			b.ReportMetric(float64(n)/viaBare.Seconds(), "bare/s")
			b.ReportMetric(viaBare.Seconds()/viaBus.Seconds(), "bus÷bare")
		})
	}
}

// BenchmarkConsume reads what is stored, in batches of 500.
func BenchmarkConsume(b *testing.B) {
	r := testenv.RabbitMQ(b)
	fast := open(b, Options{URL: r.URL(), Groups: []string{"g"}})
	msgs := benchMessages(b, 10_000)
	var took time.Duration
	n := 0
	for b.Loop() {
		publishAll(b, fast, msgs)
		ctx, cancel := context.WithCancel(b.Context())
		left := len(msgs)
		took += stopwatch(func() {
			err := fast.Consume(ctx, bus.Consumer{Group: "g"}, func(_ context.Context, batch []bus.Delivery) error {
				if left -= len(batch); left <= 0 {
					cancel()
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		})
		cancel()
		n += len(msgs)
	}
	b.ReportMetric(float64(n)/took.Seconds(), "msg/s")
}

func benchMessages(b *testing.B, n int) []bus.Message {
	data := fmt.Appendf(nil, `{"event_id":"","payload":{"text":"%01000d"}}`, 7)
	msgs := make([]bus.Message, n)
	for i := range msgs {
		id, err := bloodbank.NewEventID()
		if err != nil {
			b.Fatal(err)
		}
		msgs[i] = bus.Message{ID: id, Parent: id, Type: bloodbank.TypeVoiceCompleted, Data: data}
	}
	return msgs
}

func stopwatch(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func empty(b *testing.B, ch *amqp.Channel) {
	for _, queue := range []string{"bloodbank.a", "bare.b"} {
		if _, err := ch.QueuePurge(queue, false); err != nil {
			b.Fatal(err)
		}
	}
}

func publishAll(b *testing.B, d *Bus, msgs []bus.Message) {
	var failed atomic.Int64
	var wg sync.WaitGroup
	wg.Add(len(msgs))
	done := func(err error) {
		if err != nil {
			failed.Add(1)
		}
		wg.Done()
	}
	for _, m := range msgs {
		if err := d.Publish(b.Context(), m, done); err != nil {
			b.Fatal(err)
		}
	}
	wg.Wait()
	if n := failed.Load(); n > 0 {
		b.Fatalf("%d failed", n)
	}
}

// publishBare is what one writes without us: a window of deferred confirms, with
// one goroutine that waits for them.
func publishBare(b *testing.B, ch *amqp.Channel, msgs []bus.Message) {
	window := make(chan *amqp.DeferredConfirmation, benchWindow-1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for c := range window {
			if !c.Wait() {
				b.Error("not confirmed")
			}
		}
	})
	for _, m := range msgs {
		c, err := ch.PublishWithDeferredConfirm("bare", string(m.Type), true, false, publishing(m))
		if err != nil {
			b.Fatal(err)
		}
		window <- c
	}
	close(window)
	wg.Wait()
}
