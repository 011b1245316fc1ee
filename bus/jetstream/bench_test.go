package jetstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
)

const benchWindow = 512

// BenchmarkPublish compares, message by message in turn so that the machine's
// moods meet all alike, publishing through Bus with a bare PublishMsgAsync of
// the same window and headers on the same server, and with a server that syncs
// each message. The bars: at least 0.8 of bare; sync always is for scale.
func BenchmarkPublish(b *testing.B) {
	msgs := benchMessages(b, 20_000)
	fast := open(b, Options{Dir: b.TempDir(), Window: benchWindow})
	slow := open(b, Options{Dir: b.TempDir(), Window: benchWindow, SyncAlways: true})
	bare := newBare(b, fast)
	var viaBus, viaBare, always time.Duration
	var nBus, nAlways int
	for b.Loop() {
		viaBus += stopwatch(func() { publishAll(b, fast, fresh(b, msgs)) })
		viaBare += stopwatch(func() { bare.publishAll(b, fresh(b, msgs)) })
		viaBus += stopwatch(func() { publishAll(b, fast, fresh(b, msgs)) })
		viaBare += stopwatch(func() { bare.publishAll(b, fresh(b, msgs)) })
		few := fresh(b, msgs[:2000])
		always += stopwatch(func() { publishOneByOne(b, slow, few) })
		nBus += 2 * len(msgs)
		nAlways += len(few)
	}
	perSecond := func(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }
	b.ReportMetric(perSecond(nBus, viaBus), "bus/s")
	b.ReportMetric(perSecond(nBus, viaBare), "bare/s")
	b.ReportMetric(perSecond(nAlways, always), "always/s")
	b.ReportMetric(viaBare.Seconds()/viaBus.Seconds(), "bus÷bare")
	b.ReportMetric(perSecond(nBus, viaBus)/perSecond(nAlways, always), "bus÷always")
}

// BenchmarkPublishAllocs counts what one message costs, server included.
func BenchmarkPublishAllocs(b *testing.B) {
	for _, way := range []string{"bus", "bare"} {
		b.Run(way, func(b *testing.B) {
			fast := open(b, Options{Dir: b.TempDir(), Window: benchWindow})
			bare := newBare(b, fast)
			msgs := fresh(b, benchMessages(b, b.N))
			b.ReportAllocs()
			b.ResetTimer()
			if way == "bus" {
				publishAll(b, fast, msgs)
			} else {
				bare.publishAll(b, msgs)
			}
		})
	}
}

// BenchmarkConsume reads what is stored, in batches of 500.
func BenchmarkConsume(b *testing.B) {
	fast := open(b, Options{Dir: b.TempDir()})
	publishAll(b, fast, fresh(b, benchMessages(b, 100_000)))
	b.ReportAllocs()
	var took time.Duration
	n := 0
	for i := 0; b.Loop(); i++ {
		ctx, cancel := context.WithCancel(b.Context())
		left := 100_000
		took += stopwatch(func() {
			err := fast.Consume(ctx, bus.Consumer{Group: fmt.Sprintf("g%d", i)}, func(_ context.Context, batch []bus.Delivery) error {
				if left -= len(batch); left == 0 {
					cancel()
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		})
		n += 100_000
	}
	b.ReportMetric(float64(n)/took.Seconds(), "msg/s")
}

func benchMessages(b *testing.B, n int) []bus.Message {
	data := []byte(fmt.Sprintf(`{"event_id":"","payload":{"text":"%01000d"}}`, 7))
	msgs := make([]bus.Message, n)
	for i := range msgs {
		msgs[i] = bus.Message{Type: bloodbank.TypeVoiceCompleted, Data: data}
	}
	return fresh(b, msgs)
}

// fresh gives new ids, so that nothing is a duplicate.
func fresh(b *testing.B, msgs []bus.Message) []bus.Message {
	for i := range msgs {
		id, err := bloodbank.NewEventID()
		if err != nil {
			b.Fatal(err)
		}
		msgs[i].ID = id
		msgs[i].Parent = id
	}
	return msgs
}

func stopwatch(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
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

func publishOneByOne(b *testing.B, d *Bus, msgs []bus.Message) {
	result := make(chan error, 1)
	for _, m := range msgs {
		if err := d.Publish(b.Context(), m, func(err error) { result <- err }); err != nil {
			b.Fatal(err)
		}
		if err := <-result; err != nil {
			b.Fatal(err)
		}
	}
}

// bare is what one writes without us: PublishMsgAsync with its own window.
type bare struct{ js jetstream.JetStream }

func newBare(b *testing.B, d *Bus) bare {
	conn, err := nats.Connect("", nats.InProcessServer(d.server))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(conn.Close)
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(benchWindow))
	if err != nil {
		b.Fatal(err)
	}
	return bare{js}
}

func (w bare) publishAll(b *testing.B, msgs []bus.Message) {
	futures := make([]jetstream.PubAckFuture, 0, len(msgs))
	for _, m := range msgs {
		f, err := w.js.PublishMsgAsync(&nats.Msg{
			Subject: SubjectPrefix + string(m.Type), Data: m.Data,
			Header: nats.Header{headerID: {m.ID.String()}, headerType: {contentType}, headerParent: {m.Parent.String()}},
		}, jetstream.WithStallWait(time.Minute))
		if err != nil {
			b.Fatal(err)
		}
		futures = append(futures, f)
	}
	<-w.js.PublishAsyncComplete()
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			b.Fatal(errors.Join(io.ErrUnexpectedEOF, err))
		}
	}
}
