package openai_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/openai"
	"github.com/33god/bloodbank/voice/recognisertest"
)

// cut breaks the connection after some of the answer.
func cut(w http.ResponseWriter, some string) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte(some))
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// hang holds a request until the client has gone.
func hang(r *http.Request) { <-r.Context().Done() }

// What goes away by itself costs no word: the utterance is posted again, and heard once.
func TestFaultsThatPass(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(w http.ResponseWriter, r *http.Request){
		"500": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "out of memory", http.StatusInternalServerError)
		},
		"503": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "loading model", http.StatusServiceUnavailable)
		},
		"429":                     func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "slow down", http.StatusTooManyRequests) },
		"cut before the answer":   func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"happened, cut in answer": func(w http.ResponseWriter, _ *http.Request) { cut(w, `{"text":"hello"`) },
		"hangs":                   func(_ http.ResponseWriter, r *http.Request) { hang(r) },
		"hangs in the answer": func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"text":`))
			_ = http.NewResponseController(w).Flush()
			hang(r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, func(n int, _ posted, w http.ResponseWriter, r *http.Request) {
				if n <= 2 {
					fault(w, r)
					return
				}
				says(w, "hello")
			})
			c := f.config()
			c.Timeout = 2 * time.Second
			finals, failed, _ := recognisertest.Hear(t, open(t, c), babble(time.Second))
			if len(finals) != 1 || finals[0].Text != "hello" || len(failed) > 0 || f.count() != 3 {
				t.Errorf("heard %+v, failures %v, %d posts", finals, failed, f.count())
			}
		})
	}
}

// What does not go away fails the utterance after the attempts, with the reason; the
// next one is tried anew.
func TestFaultsThatStay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		posts  int
		is     error
		says   string
	}{
		"500": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "out of memory", http.StatusInternalServerError)
		}, 2, nil, "out of memory"},
		"429": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusTooManyRequests) }, 2, voice.ErrBusy, "429"},
		"501": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusNotImplemented) }, 1, nil, "501"},
		"413": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		}, 1, nil, "too large"},
		"400": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "bad audio", http.StatusBadRequest) }, 2, nil, "bad audio"},
		"404": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no such model", http.StatusNotFound) }, 1, voice.ErrUnavailable, "no such model"},
		"403": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusForbidden) }, 1, voice.ErrUnavailable, "token"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		}, 1, nil, "307"},
		"hangs":      {func(_ http.ResponseWriter, r *http.Request) { hang(r) }, 2, context.DeadlineExceeded, "does not answer"},
		"cut":        {func(w http.ResponseWriter, _ *http.Request) { cut(w, `{"te`) }, 2, nil, "breaks off"},
		"garbage":    {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>hello</html>")) }, 1, nil, "no transcription"},
		"other JSON": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"ok":true}`)) }, 1, nil, `no "text"`},
		"null":       {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`null`)) }, 1, nil, `no "text"`},
		"empty":      {func(http.ResponseWriter, *http.Request) {}, 1, nil, "no transcription"},
		"huge": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(strings.Repeat(" ", 10_001))) }, 1, nil,
			"more than 10000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var bad atomic.Bool
			bad.Store(true)
			f := serve(t, func(_ int, _ posted, w http.ResponseWriter, r *http.Request) {
				if bad.Load() {
					c.answer(w, r)
					return
				}
				says(w, "hello")
			})
			config := f.config()
			config.Attempts, config.Timeout, config.MaxAnswer = 2, time.Second, 10_000
			r := open(t, config)
			finals, failed, _ := recognisertest.Hear(t, r, babble(time.Second))
			if len(finals) > 0 || len(failed) != 1 || f.count() != c.posts {
				t.Fatalf("heard %+v, failures %v, %d posts, want %d", finals, failed, f.count(), c.posts)
			}
			if err := failed[0].Err; !mentions(err, c.says) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v; want %v that says %q", err, c.is, c.says)
			}
			bad.Store(false)
			if finals, failed, _ := recognisertest.Hear(t, r, babble(time.Second)); recognisertest.Text(finals) != "hello" || len(failed) > 0 {
				t.Errorf("then it hears %+v, failures %v", finals, failed)
			}
		})
	}
}

// Retry-After is kept to, and a server that asks for more than our patience gets no
// second post.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	after := "1"
	f := serve(t, func(n int, _ posted, w http.ResponseWriter, _ *http.Request) {
		if n%2 == 1 {
			w.Header().Set("Retry-After", after)
			http.Error(w, "slow down", http.StatusTooManyRequests)
			return
		}
		says(w, "hello")
	})
	r := open(t, f.config())
	if finals, failed, _ := recognisertest.Hear(t, r, babble(time.Second)); recognisertest.Text(finals) != "hello" {
		t.Fatalf("heard %+v, failures %v", finals, failed)
	}
	if d := f.times[1].Sub(f.times[0]); d < time.Second {
		t.Errorf("posted again after %s", d)
	}
	for _, after = range []string{"3600", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)} {
		before := f.count()
		_, failed, _ := recognisertest.Hear(t, r, babble(time.Second))
		if len(failed) != 1 || !errors.Is(failed[0].Err, voice.ErrBusy) || f.count() != before+1 {
			t.Errorf("after %s: failures %v, %d posts", after, failed, f.count()-before)
		}
		f.mu.Lock()
		f.posts = append(f.posts, posted{}) // keep n odd for the next
		f.mu.Unlock()
	}
}

func TestWrongToken(t *testing.T) {
	t.Parallel()
	f := serve(t, func(_ int, _ posted, w http.ResponseWriter, _ *http.Request) { says(w, "hello") })
	c := f.config()
	c.Token = token + "x"
	r := open(t, c)
	_, failed, _ := recognisertest.Hear(t, r, babble(time.Second))
	if len(failed) != 1 {
		t.Fatalf("failures %v", failed)
	}
	for _, err := range []error{failed[0].Err, r.Check(t.Context())} {
		if !errors.Is(err, voice.ErrUnavailable) || !mentions(err, "token", "401") || mentions(err, token) {
			t.Errorf("%v; want ErrUnavailable that names no token", err)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	r := open(t, openai.Config{BaseURL: gone.URL, Attempts: 2})
	if err := r.Check(t.Context()); !errors.Is(err, voice.ErrUnavailable) {
		t.Errorf("Check: %v", err)
	}
	_, failed, _ := recognisertest.Hear(t, r, babble(time.Second))
	if len(failed) != 1 || !mentions(failed[0].Err, "2 attempts", "does not answer") {
		t.Errorf("failures %v", failed)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := r.Check(t.Context()); !errors.Is(err, voice.ErrClosed) {
		t.Errorf("Check after Close: %v", err)
	}
}

// One stream whose request hangs holds up no other, and ends at once when it is closed.
func TestOtherStreamsAreUntouched(t *testing.T) {
	t.Parallel()
	caught, gone := make(chan struct{}), make(chan struct{})
	f := serve(t, func(n int, _ posted, w http.ResponseWriter, r *http.Request) {
		if n == 1 {
			close(caught)
			hang(r)
			close(gone)
			return
		}
		says(w, "hello")
	})
	r := open(t, f.config())
	stuck, err := r.Open(t.Context(), voice.StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(stuck.Write(t.Context(), babble(time.Second)), stuck.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	<-caught
	for range 3 {
		if finals, failed, _ := recognisertest.Hear(t, r, babble(time.Second)); recognisertest.Text(finals) != "hello" || len(failed) > 0 {
			t.Errorf("heard %+v, failures %v", finals, failed)
		}
	}
	if err := stuck.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Error("the request of a closed stream goes on")
	}
}

// No more requests at once than allowed, and every stream gets its turn.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	running := make(chan struct{}, 2)
	f := serve(t, func(_ int, _ posted, w http.ResponseWriter, _ *http.Request) {
		select {
		case running <- struct{}{}:
			defer func() { <-running }()
			says(w, "hello")
		default:
			http.Error(w, "three at once", http.StatusTeapot)
		}
	})
	c := f.config()
	c.Concurrent = 2
	r := open(t, c)
	done := make(chan string)
	for range 6 {
		go func() {
			finals, failed, _ := recognisertest.Hear(t, r, babble(time.Second))
			if len(failed) > 0 {
				t.Error(failed[0].Err)
			}
			done <- recognisertest.Text(finals)
		}()
	}
	for range 6 {
		if text := <-done; text != "hello" {
			t.Errorf("heard %q", text)
		}
	}
}
