package whisperlive

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/recognisertest"
	"github.com/coder/websocket"
)

// bursts is n utterances of a tone, one in three seconds; the n-th lasts longer than the
// one before, by which byLength knows it.
func bursts(n int) []int16 {
	var pcm []int16
	for i := range n {
		b := make([]int16, 3*audio.SampleRate)
		for k := range burst(i) {
			b[audio.SampleRate/2+k] = int16(6000 * (k%40/20*2 - 1))
		}
		pcm = append(pcm, b...)
	}
	return pcm
}

func burst(i int) int { return audio.SampleRate/2 + i*audio.SampleRate/5 }

// byLength says which burst it was.
func byLength(pcm []int16) string {
	n := 0
	for _, s := range pcm {
		if s != 0 {
			n++
		}
	}
	return fmt.Sprintf("burst number %d", (n-burst(0)+audio.SampleRate/10)/(audio.SampleRate/5))
}

func texts(finals []voice.Final) []string {
	var all []string
	for _, f := range finals {
		if f.Text != "" {
			all = append(all, f.Text)
		}
	}
	return all
}

func wanted(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("burst number %d", i))
	}
	return all
}

func TestLostUpstreamCostsNothing(t *testing.T) {
	t.Parallel()
	for name, gen := range map[string]generation{"Modern": modern, "Fork": fork, "WithFFmpeg": withFFmpeg} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := serveFake(t, &fake{gen: gen, hear: byLength, crashAfter: []time.Duration{
				3800 * time.Millisecond, 4 * time.Second, 200 * time.Millisecond, 5 * time.Second}})
			r := recogniser(t, Config{URL: f.url()})
			finals, failed, _ := recognisertest.Hear(t, r, bursts(6))
			if got := texts(finals); len(failed) > 0 || !slices.Equal(got, wanted(6)) {
				t.Errorf("heard %q, failed %v", got, failed)
			}
			// An utterance whose words a loss took back ends empty.
			finals = slices.DeleteFunc(finals, func(f voice.Final) bool { return f.Text == "" })
			for i, final := range finals {
				start := time.Duration(3*i)*time.Second + 500*time.Millisecond
				if d := (final.Start - start).Abs(); d > time.Second {
					t.Errorf("final %q at %s, want about %s", final.Text, final.Start, start)
				}
			}
			if f.dials != 5 {
				t.Errorf("%d connections, want 5", f.dials)
			}
		})
	}
}

func TestGivenUpUpstreamFailsWhatWasSaid(t *testing.T) {
	t.Parallel()
	f := serveFake(t, &fake{hear: byLength, polite: true, crashAfter: []time.Duration{3800 * time.Millisecond, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}})
	r := recogniser(t, Config{URL: f.url(), GiveUp: 300 * time.Millisecond})
	finals, failed, _ := recognisertest.Hear(t, r, bursts(2))
	if got := texts(finals); !slices.Equal(got, wanted(1)) {
		t.Errorf("heard %q", got)
	}
	if len(failed) == 0 || failed[0].Err == nil || failed[0].Start < time.Second || failed[0].End < 5*time.Second {
		t.Errorf("failures %+v", failed)
	}
}

// raw serves one script for each connection.
func raw(t *testing.T, script func(ctx context.Context, c *websocket.Conn)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		c, err := websocket.Accept(w, q, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(16 << 20)
		script(q.Context(), c)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func write(ctx context.Context, c *websocket.Conn, messages ...string) {
	for _, m := range messages {
		_ = c.Write(ctx, websocket.MessageText, []byte(m))
	}
}

// untilEnd reads frames up to the empty one.
func untilEnd(ctx context.Context, c *websocket.Conn) {
	for {
		if _, b, err := c.Read(ctx); err != nil || len(b) == 0 {
			return
		}
	}
}

const hello = `{"type":"config","useAudioWorklet":true,"mode":"full"}`

func TestNonsenseIsPassedOver(t *testing.T) {
	t.Parallel()
	url := raw(t, func(ctx context.Context, c *websocket.Conn) {
		write(ctx, c, hello, `{"type":"weather","lines":[{"speaker":1,"text":"no"}]}`, `{"lines":[{"spea`, `[1,2]`, `"x"`,
			`{"lines":[{"speaker":1,"text":" here I am","start":"0:00:00.10","end":"0:00:00.90"}],"buffer_transcription":" so"}`, `{}`+"\x00")
		_ = c.Write(ctx, websocket.MessageBinary, []byte("bytes"))
		untilEnd(ctx, c)
		write(ctx, c, `{"type":"ready_to_stop"}`)
	})
	finals, failed, _ := recognisertest.Hear(t, recogniser(t, Config{URL: url}), make([]int16, audio.SampleRate))
	if got := texts(finals); len(failed) > 0 || !slices.Equal(got, []string{"here I am so"}) {
		t.Errorf("heard %q, failed %v", got, failed)
	}
}

func TestHopelessUpstreamsFailClearly(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		says   []string
		after  []string
		config Config
		want   string
	}{
		"nonsense": {says: append([]string{hello}, slices.Repeat([]string{"<html>"}, 20)...), want: "no message of its protocol"},
		"huge":     {says: []string{hello, `{"error":"` + strings.Repeat("x", 5000) + `"}`}, config: Config{MaxMessage: 2000}, want: "the connection to upstream broke"},
		"stops":    {says: []string{hello, `{"status":"error","lines":[],"error":"FFmpeg failed to start. Please check that FFmpeg is installed."}`, `{"type":"ready_to_stop"}`}, want: "FFmpeg failed to start"},
		"mute":     {says: []string{hello}, config: Config{EndWithin: 50 * time.Millisecond}, want: "did not finish within"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := raw(t, func(ctx context.Context, c *websocket.Conn) {
				write(ctx, c, test.says...)
				untilEnd(ctx, c)
				_, _, _ = c.Read(ctx)
			})
			test.config.URL, test.config.GiveUp = url, 200*time.Millisecond
			r := recogniser(t, test.config)
			_, failed, _ := recognisertest.Hear(t, r, make([]int16, 2*audio.SampleRate))
			if len(failed) == 0 || !strings.Contains(failed[0].Err.Error(), test.want) {
				t.Errorf("failed %+v, want %q", failed, test.want)
			}
		})
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	deaf := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(deaf.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	locked := serveFake(t, &fake{token: "secret"})
	picky := raw(t, func(ctx context.Context, c *websocket.Conn) {
		write(ctx, c, `{"type":"error","error":"FunASR SenseVoiceSmall supports only: auto, en, ja, ko, yue, zh."}`)
		_ = c.Close(4400, "invalid session parameters")
	})
	for name, test := range map[string]struct {
		config   Config
		language string
		is       error
		want     string
	}{
		"no WebSocket": {Config{URL: deaf.URL}, "", voice.ErrUnavailable, "HTTP 404"},
		"nobody":       {Config{URL: gone.URL}, "", voice.ErrUnavailable, "no WhisperLiveKit server answers"},
		"no token":     {Config{URL: locked.url()}, "", voice.ErrUnavailable, "refuses our token"},
		"language":     {Config{URL: picky}, "fr", voice.ErrLanguage, "supports only"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := recogniser(t, test.config)
			_, err := r.Open(t.Context(), voice.StreamOptions{Language: test.language})
			if !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Open: %v", err)
			}
			if err := r.Check(t.Context()); !errors.Is(err, voice.ErrUnavailable) {
				t.Errorf("Check: %v", err)
			}
		})
	}
	r := recogniser(t, Config{URL: locked.url(), Token: "secret", Streams: 1})
	s, err := r.Open(t.Context(), voice.StreamOptions{Language: "de"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Open(t.Context(), voice.StreamOptions{}); !errors.Is(err, voice.ErrBusy) {
		t.Errorf("one stream too many: %v", err)
	}
	if q := locked.queries[0]; q != "language=de&mode=full" {
		t.Errorf("asked with %q", q)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestLossAtAnyMomentCostsNothing(t *testing.T) {
	t.Parallel()
	for gen, name := range []string{"Modern", "Fork"} {
		for at := 100 * time.Millisecond; at < 9*time.Second; at += 730 * time.Millisecond {
			t.Run(fmt.Sprint(name, at), func(t *testing.T) {
				t.Parallel()
				f := serveFake(t, &fake{gen: generation(gen), hear: byLength, polite: true, crashAfter: []time.Duration{at}})
				finals, failed, _ := recognisertest.Hear(t, recogniser(t, Config{URL: f.url()}), bursts(3))
				if got := texts(finals); len(failed) > 0 || !slices.Equal(got, wanted(3)) {
					t.Errorf("heard %q, failed %v", got, failed)
				}
			})
		}
	}
}

func TestStreamGoesOnAfterALongLoss(t *testing.T) {
	t.Parallel()
	f := &fake{t: t, hear: byLength, polite: true, crashAfter: []time.Duration{3800 * time.Millisecond}}
	var down, back atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if down.Swap(true) && !back.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		f.ServeHTTP(w, q)
	}))
	t.Cleanup(server.Close)
	s := open(t, Config{URL: server.URL, GiveUp: 300 * time.Millisecond})
	pcm := bursts(3)
	if err := s.Write(t.Context(), pcm[:6*audio.SampleRate]); err != nil {
		t.Fatal(err)
	}
	if v, ok := next(t, s).(voice.Final); !ok || v.Text != "burst number 0" {
		t.Errorf("what was shown before the loss: %+v", v)
	}
	if v, ok := next(t, s).(voice.Failed); !ok || !errors.Is(v.Err, voice.ErrBusy) || v.End != 6*time.Second {
		t.Errorf("what was said during the loss: %+v", v)
	}
	back.Store(true)
	if err := errors.Join(s.Write(t.Context(), pcm[6*audio.SampleRate:]), s.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	v, ok := next(t, s).(voice.Final)
	if !ok || v.Text != "burst number 2" || v.Start < 6*time.Second || v.Start > 7*time.Second {
		t.Errorf("after the loss: %+v", v)
	}
}
