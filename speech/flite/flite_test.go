package flite_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank/speech"
	"github.com/33god/bloodbank/speech/flite"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func installed(t *testing.T) *flite.Synthesiser {
	t.Helper()
	s := flite.New("")
	if err := s.Check(t.Context()); err != nil {
		t.Skip(err)
	}
	return s
}

func TestSpeak(t *testing.T) {
	t.Parallel()
	s := installed(t)
	for _, voice := range []string{"", "kal16"} {
		short, long := length(t, s, "yes", voice), length(t, s, "yes\nand -v no\tmore of \"that\"; $(please)", voice)
		if short < 5000 || long < 2*short {
			t.Errorf("voice %q: %d bytes for one word, %d for many", voice, short, long)
		}
	}
}

func length(t *testing.T, s *flite.Synthesiser, text, voice string) int {
	t.Helper()
	out, err := s.Speak(t.Context(), text, voice)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	b, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) < 44 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" || binary.LittleEndian.Uint32(b[24:]) != 16000 {
		t.Fatalf("%d bytes that are no 16 kHz WAV: %q", len(b), b[:min(44, len(b))])
	}
	return len(b)
}

func TestSpeakRefuses(t *testing.T) {
	t.Parallel()
	s := flite.New("")
	for _, c := range []struct {
		text, voice string
		want        error
	}{
		{"", "", speech.ErrText}, {" \n\t", "", speech.ErrText}, {"\xff", "", speech.ErrText},
		{strings.Repeat("a ", flite.MaxText), "", speech.ErrText}, {"hello", "../x", speech.ErrVoice},
	} {
		if _, err := s.Speak(t.Context(), c.text, c.voice); !errors.Is(err, c.want) {
			t.Errorf("%.20q in voice %q: %v, want %v", c.text, c.voice, err, c.want)
		}
	}
}

func TestMissingProgram(t *testing.T) {
	t.Parallel()
	s := flite.New("/no/such/flite")
	if err := s.Check(t.Context()); !errors.Is(err, speech.ErrUnavailable) || !strings.Contains(err.Error(), flite.Install) {
		t.Errorf("Check: %v", err)
	}
	if _, err := s.Speak(t.Context(), "hello", ""); !errors.Is(err, speech.ErrUnavailable) {
		t.Errorf("Speak: %v", err)
	}
}

func TestProgramThatFails(t *testing.T) {
	t.Parallel()
	_, err := flite.New("/bin/false").Speak(t.Context(), "hello", "")
	if err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("error %v", err)
	}
}

func TestContextEndsIt(t *testing.T) {
	t.Parallel()
	// A program that never ends, whatever it is told.
	program := filepath.Join(t.TempDir(), "endless")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nexec sleep 60\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := flite.New(program).Speak(ctx, "hello", ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the context's", err)
	}
}
