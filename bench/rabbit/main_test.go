package rabbit

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus/rabbitmq"
	"github.com/33god/bloodbank/dispatch"
	"github.com/33god/bloodbank/internal/testenv"
	"github.com/33god/bloodbank/wal"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m).Run()) }

const (
	window    = 256
	eventType = "llm.prompt"
	payload   = `{"provider":"anthropic","model":"opus","prompt":"the meeting starts at ten in the morning and we need to talk about ` +
		`the budget before the children play in the garden, there is a problem with the server that I would like to understand ` +
		`first: why does the queue grow at night, and who restarts the consumer?","project":"33god","working_dir":"~/code",` +
		`"domain":"ops","tags":["voice","evening","kitchen"]}`
)

func envelope() bloodbank.Envelope {
	return bloodbank.Envelope{
		EventType: eventType, Payload: []byte(payload),
		Source: bloodbank.Source{Host: "bench", Type: bloodbank.SourceManual, App: "bench"},
	}
}

// message is an event as it goes over the wire.
type message struct {
	id   bloodbank.EventID
	data []byte
}

func newMessage(b *testing.B) message {
	e := envelope()
	id, err := bloodbank.NewEventID()
	if err != nil {
		b.Fatal(err)
	}
	e.EventID, e.Timestamp, e.Version = id, time.Now(), bloodbank.Version
	data, err := e.AppendJSON(nil)
	if err != nil {
		b.Fatal(err)
	}
	return message{id, data}
}

func newMessages(b *testing.B, n int) []message {
	all := make([]message, n)
	for i := range all {
		all[i] = newMessage(b)
	}
	return all
}

// publishing has the properties that the driver sends.
func publishing(m message) amqp.Publishing {
	return amqp.Publishing{
		ContentType: "application/json", ContentEncoding: "utf-8", DeliveryMode: amqp.Persistent,
		MessageId: m.id.String(), Body: m.data,
	}
}

// side is an exchange with a quorum queue of one of those who are compared.
type side struct{ exchange, queue string }

// newSide declares both as the driver does.
func newSide(b *testing.B, ch *amqp.Channel, name string) side {
	b.Helper()
	s := side{name, name + ".all"}
	if err := ch.ExchangeDeclare(s.exchange, "topic", true, false, false, false, nil); err != nil {
		b.Fatal(err)
	}
	if _, err := ch.QueueDeclare(s.queue, true, false, false, false, amqp.Table{"x-queue-type": "quorum"}); err != nil {
		b.Fatal(err)
	}
	if err := ch.QueueBind(s.queue, "#", s.exchange, false, nil); err != nil {
		b.Fatal(err)
	}
	return s
}

func dial(b *testing.B, url string) *amqp.Connection {
	b.Helper()
	c, err := amqp.Dial(url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	return c
}

func channel(b *testing.B, c *amqp.Connection) *amqp.Channel {
	b.Helper()
	ch, err := c.Channel()
	if err != nil {
		b.Fatal(err)
	}
	return ch
}

func confirming(b *testing.B, c *amqp.Connection) *amqp.Channel {
	b.Helper()
	ch := channel(b, c)
	if err := ch.Confirm(false); err != nil {
		b.Fatal(err)
	}
	return ch
}

// logs are the write-ahead log and that of the dead letters.
type logs struct {
	events *wal.Log
	dead   *dispatch.DeadLetters
}

func openLogs(b *testing.B) logs {
	b.Helper()
	open := func(name string) *wal.Log {
		l, err := wal.Open(b.Context(), wal.Options{Dir: filepath.Join(b.TempDir(), name)})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := l.Close(); err != nil {
				b.Error(err)
			}
		})
		return l
	}
	l := logs{events: open("wal")}
	dead, err := dispatch.OpenDeadLetters(b.Context(), open("dead"))
	if err != nil {
		b.Fatal(err)
	}
	l.dead = dead
	return l
}

// openBus opens it on queues that are there already: those that it has just made
// itself it does not trust for a minute, and dispatch would send again, in each
// round, what it has sent in the rounds before.
func openBus(b *testing.B, o rabbitmq.Options) *rabbitmq.Bus {
	b.Helper()
	maker, err := rabbitmq.Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	if err := maker.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	driver, err := rabbitmq.Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	if delay := driver.Features().SafeDelay; delay != 0 {
		b.Fatalf("a confirm is worth its name only after %v", delay)
	}
	b.Cleanup(func() {
		if err := driver.Close(context.WithoutCancel(b.Context())); err != nil {
			b.Error(err)
		}
	})
	return driver
}

func stopwatch(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

// share calls f for each of n turns, with that many workers; f gets the worker's
// number.
func share(workers, n int, f func(worker, turn int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(w, i)
			}
		})
	}
	wg.Wait()
}

// rate is events per second.
func rate(n int, took time.Duration) float64 { return float64(n) / took.Seconds() }
