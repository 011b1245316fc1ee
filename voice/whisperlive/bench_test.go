package whisperlive

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/coder/websocket"
)

// stamp is a server that tells a word every 100 ms of audio, and when it did.
func stamped(b testing.TB, sent *sync.Map) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		c, err := websocket.Accept(w, q, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		ctx := q.Context()
		id := q.URL.Query().Get("target_language")
		write(ctx, c, hello)
		var lines []string
		text := ""
		for n := 0; ; n++ {
			_, frame, err := c.Read(ctx)
			if err != nil {
				return
			}
			if len(frame) == 0 {
				write(ctx, c, `{"type":"ready_to_stop"}`)
				continue
			}
			word := fmt.Sprintf("w%sx%d", id, n)
			text += " " + word
			row := fmt.Sprintf(`{"speaker":1,"text":%q,"start":"0:00:%05.2f","end":"0:00:%05.2f"}`, text, float64(n/20*2), float64(n)/10+0.1)
			all := strings.Join(append(slices.Clone(lines), row), ",")
			if n%20 == 19 {
				lines, text = append(lines, row, `{"speaker":-2,"text":""}`), ""
			}
			sent.Store(word, time.Now())
			write(ctx, c, `{"status":"active_transcription","lines":[`+all+`],"buffer_transcription":"","buffer_diarization":"","remaining_time_transcription":0.1,"remaining_time_transcription_processing":0.1}`)
		}
	}))
	b.Cleanup(server.Close)
	return server.URL
}

// delays speaks for a while in real time, and gathers how long each word took from the
// server's message to the result.
func delays(b testing.TB, r *Recogniser, pieces int, sent *sync.Map, add func(time.Duration)) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	s, err := r.Open(ctx, voice.StreamOptions{})
	if err != nil {
		b.Error(err)
		return
	}
	defer s.Close()
	var writing sync.WaitGroup
	writing.Go(func() {
		beat := time.NewTicker(100 * time.Millisecond)
		defer beat.Stop()
		for range pieces {
			if err := s.Write(ctx, make([]int16, audio.SampleRate/10)); err != nil {
				b.Error(err)
				return
			}
			<-beat.C
		}
		if err := s.CloseWrite(); err != nil {
			b.Error(err)
		}
	})
	defer writing.Wait()
	for result := range s.Results() {
		i, ok := result.(voice.Interim)
		if !ok {
			continue
		}
		words := strings.Fields(i.Text)
		if at, ok := sent.Load(words[len(words)-1]); ok {
			add(time.Since(at.(time.Time)))
		}
	}
}

// BenchmarkStreams runs -streams streams of real-time audio for -spoken each; for the
// bounds of the design: go test -run - -bench Streams -benchtime 1x -streams 500 -spoken 20s
func BenchmarkStreams(b *testing.B) {
	for b.Loop() {
		var sent, all = sync.Map{}, []time.Duration(nil)
		url := stamped(b, &sent)
		var mu sync.Mutex
		var speakers sync.WaitGroup
		for i := range *benchStreams {
			r, err := New(Config{URL: fmt.Sprintf("%s/?target_language=%d", url, i), Streams: 1})
			if err != nil {
				b.Fatal(err)
			}
			speakers.Go(func() {
				defer r.Close()
				delays(b, r, int(*benchSpoken/(100*time.Millisecond)), &sent, func(d time.Duration) {
					mu.Lock()
					all = append(all, d)
					mu.Unlock()
				})
			})
		}
		time.AfterFunc(*benchSpoken/2, func() {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			// Both ends live in this process, so that this is more than ours.
			b.ReportMetric(float64(m.HeapInuse+m.StackInuse)/1024/float64(*benchStreams), "KiB/stream")
		})
		speakers.Wait()
		slices.Sort(all)
		if len(all) == 0 {
			b.Fatal("no words")
		}
		b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
	}
}

var (
	benchStreams = flag.Int("streams", 20, "streams of BenchmarkStreams")
	benchSpoken  = flag.Duration("spoken", 3*time.Second, "what each of them lasts")
)

// TestLittleDelayIsAdded: from the server's message to the result, on a busy machine too.
func TestLittleDelayIsAdded(t *testing.T) {
	var sent sync.Map
	r := recogniser(t, Config{URL: stamped(t, &sent)})
	var all []time.Duration
	delays(t, r, 25, &sent, func(d time.Duration) { all = append(all, d) })
	slices.Sort(all)
	if len(all) < 10 || all[len(all)/2] > 20*time.Millisecond {
		t.Errorf("delays of %d words: %v; want a median below 20ms", len(all), all)
	}
}

// BenchmarkReducer is one update of an hour's transcript, whose last line grows.
func BenchmarkReducer(b *testing.B) {
	r := newReducer(usual())
	s := &snapshot{}
	for i := range 600 {
		at := clock{Duration: time.Duration(i) * 6 * time.Second, set: true}
		s.Lines = append(s.Lines, line{Speaker: 1, Text: strings.Repeat(" and so on", 5) + ".", Start: at, End: at},
			line{Speaker: speakerSilence})
	}
	now := time.Unix(0, 0)
	r.take(s, now)
	s.Lines = append(s.Lines, line{Speaker: 1, Text: " now"})
	b.ReportAllocs()
	for b.Loop() {
		r.take(s, now)
	}
}
