package rabbit

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	watermillamqp "github.com/ThreeDotsLabs/watermill-amqp/v3/pkg/amqp"
	watermillmessage "github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/33god/bloodbank/bus/rabbitmq"
	"github.com/33god/bloodbank/dispatch"
	"github.com/33god/bloodbank/internal/testenv"
)

// The messages of one round. Those who are slow get fewer.
const (
	dispatched    = 20_000
	viaWatermill  = 500
	viaPool       = 5_000
	poolOfClients = 64
)

// BenchmarkPublish has the same messages published to quorum queues of one
// server: by dispatch, which reads them from the log; by a bare client with the
// same window of confirms; by Watermill's publisher with confirms; and by 64 of
// those.
func BenchmarkPublish(b *testing.B) {
	r := testenv.PrivateRabbitMQ(b)
	admin := channel(b, dial(b, r.URL()))
	l := openLogs(b)
	ours := side{"ours", "ours.all"}
	driver := openBus(b, rabbitmq.Options{URL: r.URL(), Exchange: ours.exchange, Groups: []string{"all"}, Window: window})
	bare := newSide(b, admin, "bare")
	client := confirming(b, dial(b, r.URL()))
	other := newSide(b, admin, "watermill")
	pool := make([]*watermillamqp.Publisher, poolOfClients)
	for i := range pool {
		pool[i] = newWatermill(b, r.URL(), other)
	}
	messages := newMessages(b, dispatched)
	var viaDispatch, viaBare, viaOne, viaMany time.Duration
	n := 0
	for b.Loop() {
		turns := []func(){
			func() { viaDispatch += dispatchAll(b, l, driver, messages) },
			func() { viaBare += stopwatch(func() { publishBare(b, client, bare, messages) }) },
			func() { viaOne += stopwatch(func() { publishWatermill(b, pool[:1], messages[:viaWatermill]) }) },
			func() { viaMany += stopwatch(func() { publishWatermill(b, pool, messages[:viaPool]) }) },
		}
		for i := range turns { // each begins in turn
			turns[(i+n)%len(turns)]()
			for _, s := range []side{ours, bare, other} {
				if _, err := admin.QueuePurge(s.queue, false); err != nil {
					b.Fatal(err)
				}
			}
		}
		n++
	}
	dispatch := rate(n*dispatched, viaDispatch)
	b.ReportMetric(dispatch, "dispatch/s")
	b.ReportMetric(rate(n*dispatched, viaBare), "bare/s")
	b.ReportMetric(rate(n*viaWatermill, viaOne), "watermill/s")
	b.ReportMetric(rate(n*viaPool, viaMany), "pool/s")
	b.ReportMetric(dispatch/rate(n*dispatched, viaBare), "dispatch÷bare")
	b.ReportMetric(dispatch/rate(n*viaWatermill, viaOne), "dispatch÷watermill")
	b.ReportMetric(dispatch/rate(n*viaPool, viaMany), "dispatch÷pool")
}

// dispatchAll writes the messages to the log, and returns how long dispatch
// takes from its start until all are confirmed.
func dispatchAll(b *testing.B, l logs, driver *rabbitmq.Bus, messages []message) time.Duration {
	const batch = 200
	for from := 0; from < len(messages); from += batch {
		var records [][]byte
		for _, m := range messages[from:min(from+batch, len(messages))] {
			records = append(records, m.data)
		}
		if _, err := l.events.AppendBatch(b.Context(), records); err != nil {
			b.Fatal(err)
		}
	}
	d, err := dispatch.New(dispatch.Options{Log: l.events, Publisher: driver, Dead: l.dead})
	if err != nil {
		b.Fatal(err)
	}
	took := stopwatch(func() {
		if err := d.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		if err := d.Confirmed(b.Context(), l.events.Last()); err != nil {
			b.Fatal(err)
		}
	})
	if err := d.Stop(context.WithoutCancel(b.Context())); err != nil {
		b.Fatal(err)
	}
	return took
}

// publishBare is what one writes without us: a window of confirms, and one
// goroutine that waits for them.
func publishBare(b *testing.B, ch *amqp.Channel, s side, messages []message) {
	open := make(chan *amqp.DeferredConfirmation, window-1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for c := range open {
			if !c.Wait() {
				b.Error("not confirmed")
			}
		}
	})
	for _, m := range messages {
		c, err := ch.PublishWithDeferredConfirm(s.exchange, eventType, true, false, publishing(m))
		if err != nil {
			b.Fatal(err)
		}
		open <- c
	}
	close(open)
	wg.Wait()
}

// newWatermill is a publisher with a connection and a channel of its own, which
// waits for each confirm.
func newWatermill(b *testing.B, url string, s side) *watermillamqp.Publisher {
	b.Helper()
	config := watermillamqp.NewDurablePubSubConfig(url, nil)
	config.Exchange.GenerateName = func(string) string { return s.exchange }
	config.Exchange.Type = "topic"
	config.Publish.GenerateRoutingKey = func(topic string) string { return topic }
	config.Publish.ConfirmDelivery = true
	config.Publish.ChannelPoolSize = 1 // without, it opens a channel for each message
	p, err := watermillamqp.NewPublisher(config, watermill.NopLogger{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := p.Close(); err != nil {
			b.Error(err)
		}
	})
	return p
}

func publishWatermill(b *testing.B, pool []*watermillamqp.Publisher, messages []message) {
	share(len(pool), len(messages), func(worker, turn int) {
		m := messages[turn]
		if err := pool[worker].Publish(eventType, watermillmessage.NewMessage(m.id.String(), m.data)); err != nil {
			b.Error(err)
		}
	})
}
