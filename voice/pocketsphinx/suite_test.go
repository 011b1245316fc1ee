package pocketsphinx_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/pocketsphinx"
	"github.com/33god/bloodbank/voice/recognisertest"
)

func recogniser(t testing.TB) *pocketsphinx.Recogniser {
	t.Helper()
	return recogniserWith(t, config(t))
}

func recogniserWith(t testing.TB, c pocketsphinx.Config) *pocketsphinx.Recogniser {
	t.Helper()
	r, err := pocketsphinx.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Check(t.Context()); err != nil {
		r.Close()
		if errors.Is(err, voice.ErrUnavailable) {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	return r
}

func TestSuite(t *testing.T) {
	recognisertest.Run(t, recognisertest.Setup{
		New: func(t *testing.T) voice.Recogniser { return recogniser(t) },
		Kill: func(t *testing.T, r voice.Recogniser) {
			workers := r.(*pocketsphinx.Recogniser).Workers()
			if len(workers) == 0 {
				t.Error("no worker runs")
			}
			for _, pid := range workers {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			}
		},
	})
}
