package pocketsphinx_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/pocketsphinx"
	"github.com/33god/bloodbank/voice/recognisertest"
)

// unavailable checks that a recogniser refuses, says why and says what to install.
func unavailable(t *testing.T, c pocketsphinx.Config, says string) {
	t.Helper()
	r, err := pocketsphinx.New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 2 {
		err = r.Check(t.Context())
		if !errors.Is(err, voice.ErrUnavailable) || !strings.Contains(err.Error(), says) {
			t.Errorf("Check: %v; want ErrUnavailable that says %q", err, says)
		}
	}
	if n := len(r.Workers()); n != 0 {
		t.Errorf("%d workers run", n)
	}
}

func TestMissingLibrary(t *testing.T) {
	if _, err := os.Stat(pocketsphinx.DefaultModelDir); err != nil {
		t.Skip("the model is missing: ", err)
	}
	c := config(t)
	c.Library = "libno-such-thing.so.9"
	unavailable(t, c, pocketsphinx.Install)
}

func TestMissingModel(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.ModelDir = filepath.Join(t.TempDir(), "en-us")
	unavailable(t, c, pocketsphinx.Install)
}

func TestWorkerThatCannotStart(t *testing.T) {
	if _, err := os.Stat(pocketsphinx.DefaultModelDir); err != nil {
		t.Skip("the model is missing: ", err)
	}
	unavailable(t, pocketsphinx.Config{Command: []string{"/no/such/binary"}}, "/no/such/binary")
	unavailable(t, pocketsphinx.Config{Command: []string{"/bin/false"}}, "worker process")
	unavailable(t, pocketsphinx.Config{Command: []string{"/bin/echo", "a line instead of a frame"}}, "worker process")
	unavailable(t, pocketsphinx.Config{Command: []string{"/bin/sleep", "60"}, StartTimeout: 200 * time.Millisecond}, "worker process")
}

// The library ends its process on such a model, or talks nonsense: it must not come so far.
func TestDamagedModel(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"truncated sendump": func(dir string) error { return os.Truncate(filepath.Join(dir, "en-us", "sendump"), 500) },
		"empty mdef":        func(dir string) error { return os.Truncate(filepath.Join(dir, "en-us", "mdef"), 0) },
		"no dictionary":     func(dir string) error { return os.Remove(filepath.Join(dir, "cmudict-en-us.dict")) },
	} {
		c := config(t)
		c.ModelDir = copyModel(t)
		if err := damage(c.ModelDir); err != nil {
			t.Fatal(err)
		}
		t.Log(name)
		unavailable(t, c, "model cannot be used")
	}
}

// Damage that only the library finds kills the worker, not us.
func TestModelThatKillsTheWorker(t *testing.T) {
	c := config(t)
	c.ModelDir = copyModel(t)
	noise := bytes.Repeat([]byte("not a model "), 100_000)
	if err := os.WriteFile(filepath.Join(c.ModelDir, "en-us", "means"), noise, 0o600); err != nil {
		t.Fatal(err)
	}
	unavailable(t, c, "FATAL")
}

func copyModel(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat(pocketsphinx.DefaultModelDir); err != nil {
		t.Skip("the model is missing: ", err)
	}
	dir := filepath.Join(t.TempDir(), "en-us")
	if err := os.CopyFS(dir, os.DirFS(pocketsphinx.DefaultModelDir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestConfigRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []pocketsphinx.Config{{Workers: -1}, {Workers: 1000}, {StartTimeout: -1}} {
		if _, err := pocketsphinx.New(c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

func TestCloseBeforeUseAndAfter(t *testing.T) {
	t.Parallel()
	r, err := pocketsphinx.New(config(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Check(t.Context()); !errors.Is(err, voice.ErrClosed) {
		t.Errorf("Check after Close: %v", err)
	}
}

// A worker fed with anything but frames ends with an error; it never hangs.
func FuzzWorkerInput(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("\x00\x00\x00\x05t\x00\x00\x00\x01"))
	f.Add([]byte("\x00\x00\x00\x07l\x00\x00\x00\x01{}"))
	f.Add([]byte("\xff\xff\xff\xffl\x00\x00\x00\x01"))
	f.Add([]byte("\x00\x00\x00\x06l\x00\x00\x00\x01{"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if bytes.Contains(in, []byte("{")) && bytes.HasPrefix(in[min(4, len(in)):], []byte("l")) {
			in = append(in[:len(in):len(in)], "damage"...)
			in = bytes.Replace(in, []byte("{"), []byte("["), 1)
		}
		if err := pocketsphinx.RunWorker(t.Context(), bytes.NewReader(in), io.Discard); err == nil {
			t.Errorf("no error for %q", in)
		}
	})
}

// More talkers than workers: all are heard, each in its turn.
func TestMoreStreamsThanWorkers(t *testing.T) {
	c := config(t)
	c.Workers = 1
	r, err := pocketsphinx.New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Check(t.Context()); err != nil {
		t.Skip(err)
	}
	pcm := gap(recognisertest.Say(t, "kal16", recognisertest.Sentence))
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if finals, failed, _ := recognisertest.Hear(t, r, pcm); recognisertest.Text(finals) != recognisertest.Sentence {
				t.Errorf("heard %q, failures %v", recognisertest.Text(finals), failed)
			}
		})
	}
	all.Wait()
	if n := len(r.Workers()); n != 1 {
		t.Errorf("%d workers, want 1", n)
	}
}

// A stream that gives up while its final is at work leaves the decoder in order.
func TestGivenUpFinalReturnsItsDecoder(t *testing.T) {
	c := config(t)
	c.Workers = 1
	r, err := pocketsphinx.New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Check(t.Context()); err != nil {
		t.Skip(err)
	}
	pcm := gap(recognisertest.Say(t, "kal16", recognisertest.Sentence))
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		s, err := r.Open(ctx, voice.StreamOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Write(ctx, pcm), s.CloseWrite()); err != nil {
			t.Fatal(err)
		}
		<-s.Results()
		cancel()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	finals, failed, _ := recognisertest.Hear(t, r, append(pcm, make([]int16, audio.SampleRate)...))
	if recognisertest.Text(finals) != recognisertest.Sentence || len(failed) > 0 {
		t.Errorf("heard %q, failures %v", recognisertest.Text(finals), failed)
	}
}

// A worker that never answers is killed; its utterance fails, the next gets a new one.
func TestWorkerThatHangs(t *testing.T) {
	if _, err := os.Stat(pocketsphinx.DefaultModelDir); err != nil {
		t.Skip("the model is missing: ", err)
	}
	c := config(t)
	c.Env, c.Workers, c.HangTimeout = []string{"BB_TEST_ASR_WORKER=hang"}, 1, time.Millisecond
	r, err := pocketsphinx.New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := r.Workers()
	burst := make([]int16, audio.SampleRate/4)
	for i := range burst {
		burst[i] = int16(8000 * (i / 16 % 2))
	}
	finals, failed, _ := recognisertest.Hear(t, r, gap(burst))
	if len(finals) != 0 || len(failed) != 1 || !strings.Contains(failed[0].Err.Error(), "worker process died") {
		t.Errorf("finals %v, failures %v", finals, failed)
	}
	if err := r.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if second := r.Workers(); len(second) != 1 || second[0] == first[0] {
		t.Errorf("workers %v, then %v", first, second)
	}
}
