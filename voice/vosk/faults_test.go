package vosk_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/recognisertest"
	"github.com/33god/bloodbank/voice/vosk"
	"github.com/coder/websocket"
)

// ramp is audio whose every sample says where it is.
func ramp(n int) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(i)
	}
	return pcm
}

// A connection that breaks costs no word: the next one hears all since the last final,
// though the result was made and lost on the way, and nothing is told twice.
func TestBrokenConnection(t *testing.T) {
	t.Parallel()
	var first int16 = -1
	heard := 0
	f := serve(t, func(c call) {
		for i := 0; ; i++ {
			pcm, text, ok := c.next()
			switch {
			case !ok:
				return
			case text == eof:
				c.result("three", 0.1)
				return
			case pcm == nil: // the configuration
			case c.n == 1 && i == 10:
				c.result("one", 0.2) // a second was heard
			case c.n == 1 && i == 25:
				return // "two" is made, and lost
			case c.n == 2:
				if heard == 0 {
					first = pcm[0]
				}
				if heard += len(pcm); heard == 2*audio.SampleRate {
					c.result("two", 0.5)
					break
				}
				c.partial("tw")
			default:
				c.partial("")
			}
		}
	})
	finals, failed, _ := recognisertest.Hear(t, open(t, f.config()), ramp(4*audio.SampleRate))
	if recognisertest.Text(finals) != "one two three" || len(finals) != 3 || len(failed) > 0 {
		t.Fatalf("finals %+v, failures %v", finals, failed)
	}
	if first != audio.SampleRate || heard != 3*audio.SampleRate {
		t.Errorf("the second connection hears %d samples from %d on", heard, first)
	}
	// The clock of a connection starts with what it hears first.
	if finals[1].Start != 1500*time.Millisecond || finals[2].Start < finals[1].End {
		t.Errorf("%s to %s, then %s", finals[1].Start, finals[1].End, finals[2].Start)
	}
}

// What breaks every connection fails after the attempts; what follows is heard.
func TestFaultsThatStay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault func(c call)
		says  string
	}{
		"hangs":            {func(c call) { <-c.ctx.Done() }, "not answered"},
		"takes and hangs":  {func(c call) { c.silent() }, "not answered"},
		"cuts":             {func(c call) { c.next(); c.next() }, "ends the connection"},
		"garbage":          {func(c call) { _ = c.Write(c.ctx, websocket.MessageText, []byte("<html>")); c.silent() }, "nonsense"},
		"other JSON":       {func(c call) { c.say(map[string]any{"ok": true}); c.silent() }, "nonsense"},
		"null":             {func(c call) { c.say(nil); c.silent() }, "nonsense"},
		"answer unasked":   {func(c call) { c.unasked(); c.silent() }, "nonsense"},
		"empty":            {func(c call) { _ = c.Write(c.ctx, websocket.MessageText, nil); c.silent() }, "nonsense"},
		"huge":             {func(c call) { c.partial(strings.Repeat("a", 2<<20)); c.silent() }, "ends the connection"},
		"no final":         {func(c call) { c.partials() }, "no result at the end"},
		"end without word": {func(c call) { c.next(); c.Close(websocket.StatusInternalError, "out of memory") }, "out of memory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, func(call call) {
				if call.n <= 2 {
					c.fault(call)
					return
				}
				speaks(call)
			})
			config := f.config()
			config.Attempts, config.Timeout, config.MaxUtterance = 2, time.Second, 2*time.Second
			r := open(t, config)
			s, err := r.Open(t.Context(), voice.StreamOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := errors.Join(s.Write(t.Context(), ramp(audio.SampleRate)), s.Finalize(), s.Write(t.Context(), ramp(audio.SampleRate)), s.CloseWrite()); err != nil {
				t.Fatal(err)
			}
			var told []string
			for r := range s.Results() {
				switch r := r.(type) {
				case voice.Final:
					told = append(told, fmt.Sprint(r.Utterance, " ", r.Text))
				case voice.Failed:
					told = append(told, fmt.Sprint(r.Utterance, " failed"))
					if !mentions(r.Err, c.says) || r.End != time.Second {
						t.Errorf("%v at %s; want words %q", r.Err, r.End, c.says)
					}
				}
			}
			if fmt.Sprint(told) != "[1 failed 2 word]" {
				t.Errorf("told %q", told)
			}
			if f.count() != 3 {
				t.Errorf("%d connections, want 3", f.count())
			}
		})
	}
}

func (c call) unasked() {
	for range 100 {
		c.partial("")
	}
}

// silent reads and says nothing.
func (c call) silent() {
	for ok := true; ok; {
		_, _, ok = c.next()
	}
}

// partials answers everything with partial texts.
func (c call) partials() {
	for {
		pcm, text, ok := c.next()
		if !ok {
			return
		}
		if pcm != nil || text == eof {
			c.partial("still")
		}
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	r := open(t, vosk.Config{URL: "ws://user:hidden@" + l.Addr().String(), Patience: 300 * time.Millisecond})
	if err := r.Check(t.Context()); !errors.Is(err, voice.ErrUnavailable) || mentions(err, "hidden") {
		t.Errorf("Check: %v", err)
	}
	finals, failed, _ := recognisertest.Hear(t, r, ramp(audio.SampleRate))
	if len(finals) > 0 || len(failed) != 1 || !errors.Is(failed[0].Err, voice.ErrUnavailable) || failed[0].End != time.Second {
		t.Errorf("finals %+v, failures %v", finals, failed)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := r.Check(t.Context()); !errors.Is(err, voice.ErrClosed) {
		t.Errorf("Check after Close: %v", err)
	}
}

// A server that comes back within our patience has missed nothing.
func TestServerComesBack(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 1000)
	back := make(chan struct{})
	good := serve(t, speaks)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-back:
			good.Config.Handler.ServeHTTP(w, r)
		default:
			http.Error(w, "starting", http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(proxy.Close)
	c := good.config()
	c.URL = "ws" + strings.TrimPrefix(proxy.URL, "http")
	r := open(t, c)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		<-asked
		<-asked
		close(back)
	})
	finals, failed, _ := recognisertest.Hear(t, r, ramp(3*audio.SampleRate))
	waiting.Wait()
	if recognisertest.Text(finals) != "word word word" || len(failed) > 0 {
		t.Errorf("finals %+v, failures %v", finals, failed)
	}
}

func TestWrongToken(t *testing.T) {
	t.Parallel()
	f := serve(t, speaks)
	c := f.config()
	c.Token, c.Patience = "wrong-secret", 100*time.Millisecond
	r := open(t, c)
	_, failed, _ := recognisertest.Hear(t, r, ramp(audio.SampleRate))
	if len(failed) != 1 {
		t.Fatalf("failures %v", failed)
	}
	for _, err := range []error{failed[0].Err, r.Check(t.Context())} {
		if !errors.Is(err, voice.ErrUnavailable) || !mentions(err, "token", "401") || mentions(err, "wrong-secret") {
			t.Errorf("%v; want ErrUnavailable that names no token", err)
		}
	}
}

// While the server hangs, Write waits once half a minute is waiting, and other streams
// go on.
func TestBoundedWaitingAndOtherStreams(t *testing.T) {
	t.Parallel()
	f := serve(t, func(c call) {
		if c.n == 1 {
			c.silent()
			return
		}
		speaks(c)
	})
	c := f.config()
	c.Timeout = time.Minute
	r := open(t, c)
	stuck, err := r.Open(t.Context(), voice.StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error)
	go func() { wrote <- stuck.Write(t.Context(), ramp(120*audio.SampleRate)) }()
	for f.count() == 0 {
		if err := r.Check(t.Context()); err != nil { // a connection that says nothing
			t.Fatal(err)
		}
	}
	if finals, failed, _ := recognisertest.Hear(t, r, ramp(2*audio.SampleRate)); recognisertest.Text(finals) != "word word" || len(failed) > 0 {
		t.Errorf("finals %+v, failures %v", finals, failed)
	}
	select {
	case err := <-wrote:
		t.Errorf("two minutes are taken at once, %v", err)
	case <-time.After(time.Second):
	}
	if err := stuck.Close(); err != nil {
		t.Error(err)
	}
	if err := <-wrote; !errors.Is(err, voice.ErrClosed) {
		t.Errorf("Write: %v", err)
	}
}
