package whisperlive

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/33god/bloodbank/voice"
	"github.com/coder/websocket"
)

// glass collects what a mirror is shown; "" stands for nothing.
type glass struct {
	mu    sync.Mutex
	shown []string
}

func (g *glass) show(state []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shown = append(g.shown, string(state))
}

// hear opens a stream with a mirror, ends it, and returns what came of it.
func (g *glass) hear(t *testing.T, c Config, o voice.StreamOptions) (results []voice.Result) {
	t.Helper()
	o.Mirror = g.show
	s, err := recogniser(t, c).Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	for r := range s.Results() {
		results = append(results, r)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	return results
}

const (
	translated = `{ "status":"active_transcription", "lines":[{"speaker":2,"text":" Hello.","start":"0:00:00.32","end":"0:00:02.96",` +
		`"translation":"Salut. ","detected_language":"en"}],"buffer_transcription":"","buffer_translation":" caf\u00e9","new_in_0.3":[1e2]}`
	quiet = `{"status":"no_audio_detected","lines":[],"buffer_transcription":""}`
)

// TestMirror: states of a modern upstream are shown as they come, and nothing else is.
func TestMirror(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		greeting string
		want     []string
	}{
		"modern": {hello, []string{quiet, translated}},
		"fork":   {`{"type":"session_info","session_id":"x"}`, nil},
		"old":    {quiet, nil},
	} {
		var g glass
		url := raw(t, func(ctx context.Context, s *websocket.Conn) {
			write(ctx, s, c.greeting, quiet, `{"type":"weather"}`, `nonsense`, translated)
			untilEnd(ctx, s)
			write(ctx, s, `{"type":"ready_to_stop"}`)
		})
		results := g.hear(t, Config{URL: url}, voice.StreamOptions{Translate: "fra_Latn"})
		if !slices.Equal(g.shown, c.want) {
			t.Errorf("%s: shown %q, want %q", name, g.shown, c.want)
		}
		if len(results) == 0 {
			t.Errorf("%s: no results beside the mirror", name)
		}
	}
}

// TestMirrorOfALostUpstream: the next connection knows nothing of the first, so its
// states are not shown; who listens is told of the loss and of its end.
func TestMirrorOfALostUpstream(t *testing.T) {
	t.Parallel()
	var g glass
	first := true
	url := raw(t, func(ctx context.Context, s *websocket.Conn) {
		if first {
			first = false
			write(ctx, s, hello, quiet)
			_ = s.Close(websocket.StatusInternalError, "out of memory")
			return
		}
		write(ctx, s, hello, translated)
		untilEnd(ctx, s)
		write(ctx, s, `{"type":"ready_to_stop"}`)
	})
	results := g.hear(t, Config{URL: url}, voice.StreamOptions{})
	if want := []string{quiet, ""}; !slices.Equal(g.shown, want) {
		t.Errorf("shown %q, want %q", g.shown, want)
	}
	away := slices.IndexFunc(results, func(r voice.Result) bool {
		a, is := r.(voice.Away)
		return is && a.Err != nil && errors.Unwrap(a.Err) != nil
	})
	back := slices.Index(results, voice.Result(voice.Back{}))
	if away < 0 || back < away {
		t.Errorf("away is %d and back %d of %v", away, back, results)
	}
}

// TestWishesReachUpstream: a client's language and translation are parameters there.
func TestWishesReachUpstream(t *testing.T) {
	t.Parallel()
	f := serveFake(t, &fake{hear: byLength})
	var g glass
	g.hear(t, Config{URL: f.url() + "/asr?key=1"}, voice.StreamOptions{Language: "fr", Translate: "deu_Latn"})
	if want := []string{"key=1&language=fr&mode=full&target_language=deu_Latn"}; !slices.Equal(f.queries, want) {
		t.Errorf("asked with %q, want %q", f.queries, want)
	}
}
