package asrws_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/asrws"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/recognisertest"
	"github.com/coder/websocket"
)

// metronome is a recogniser that hears utterances of the same length in whatever it is
// sent, without listening: a session's day has to pass in seconds.
type metronome struct {
	voice.Recogniser
	every time.Duration
}

func (m metronome) Open(ctx context.Context, _ voice.StreamOptions) (voice.Stream, error) {
	return &beats{ctx: ctx, every: m.every, results: make(chan voice.Result)}, nil
}

type beats struct {
	ctx     context.Context
	every   time.Duration
	results chan voice.Result
	samples int64
	told    int
}

func (b *beats) tell(r voice.Result) {
	select {
	case b.results <- r:
	case <-b.ctx.Done():
	}
}

func (b *beats) Write(_ context.Context, pcm []int16) error {
	for b.samples += int64(len(pcm)); audio.Duration(b.samples) >= time.Duration(b.told+1)*b.every; {
		at := time.Duration(b.told) * b.every
		b.told++
		b.tell(voice.Started{Utterance: b.told, At: at})
		b.tell(voice.Interim{Utterance: b.told, Text: "this is what"})
		b.tell(voice.Ended{Utterance: b.told, At: at + b.every})
		b.tell(voice.Final{Transcription: voice.Transcription{
			Utterance: b.told, Start: at, End: at + b.every, Language: "en-US",
			Text: fmt.Sprint("this is what somebody said as the words of utterance ", b.told),
		}})
	}
	return nil
}

func (*beats) Finalize() error                { return nil }
func (b *beats) CloseWrite() error            { close(b.results); return nil }
func (b *beats) Results() <-chan voice.Result { return b.results }
func (*beats) Close() error                   { return nil }

// counter is an Emitter that keeps nothing.
type counter struct{ events atomic.Int64 }

func (c *counter) Emit(_ context.Context, e bloodbank.Envelope) (bloodbank.Receipt, error) {
	c.events.Add(1)
	return bloodbank.Receipt{EventID: e.EventID, Ack: bloodbank.AckWAL}, nil
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A day of speech through one session and one socket: the heap does not grow, and what
// is sent does not either. It runs alone, since it measures the heap of the process.
func TestADayInOneSession(t *testing.T) {
	day, every := 24*time.Hour, 5*time.Second
	if raced || testing.Short() {
		day, every = 20*time.Minute, 500*time.Millisecond // still more lines than are kept, twice
	}
	events := &counter{}
	s, desk, _ := serve(t, setup{Recogniser: metronome{scripted(recognisertest.Script{}), every}, Emitter: events})
	c := dial(t, s, "")
	c.greeting()
	largest, last := make(chan int, 1), make(chan []byte, 1)
	go func() {
		most, final := 0, []byte(nil)
		for {
			_, b, err := c.conn.Read(c.ctx)
			if err != nil || string(b) == `{"type":"ready_to_stop"}` {
				largest <- most
				last <- final
				return
			}
			most, final = max(most, len(b)), b
		}
	}()
	frame := make([]byte, 64_000)
	frames := int(day / (2 * time.Second))
	var early int64
	begun := time.Now()
	for i := range frames {
		if err := c.conn.Write(c.ctx, websocket.MessageBinary, frame); err != nil {
			t.Fatal(err)
		}
		if i == frames*6/10 { // by now all that is bounded is full
			early = heap()
		}
	}
	late := heap()
	c.send(nil)
	most := <-largest
	m := object(t, <-last)
	utterances := int(day / every)
	t.Logf("%s of audio in %s; heap %d KiB, then %d KiB; largest message %d KiB", day, time.Since(begun).Round(time.Millisecond), early>>10, late>>10, most>>10)
	if grown := late - early; grown > 4<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if n := len(texts(m)); n != asrws.MaxLines || m["lines_dropped"] != float64(utterances-n) || m["last_utterance"] != float64(utterances) {
		t.Errorf("%d lines, %v dropped, last utterance %v", n, m["lines_dropped"], m["last_utterance"])
	}
	if most > 512<<10 {
		t.Errorf("a message of %d bytes", most)
	}
	if n := events.events.Load(); n != int64(utterances)+2 {
		t.Errorf("%d events, want %d", n, utterances+2)
	}
	if lag := desk.Status().Lag; lag != 0 {
		t.Errorf("lag %g", lag)
	}
}
