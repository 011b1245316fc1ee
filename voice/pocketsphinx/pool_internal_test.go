package pocketsphinx

import (
	"errors"
	"testing"

	"github.com/33god/bloodbank/voice"
)

// Guesses leave at least half of the decoders to those who are sure.
func TestSpareLeavesDecodersToOthers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		workers, busy int
		refused       bool
	}{{1, 0, false}, {1, 1, true}, {2, 0, false}, {2, 1, true}, {4, 1, false}, {4, 2, true}} {
		// A worker that cannot start: whoever is let in meets that error, not ErrBusy.
		p := newPool(Config{Workers: c.workers, Command: []string{"/no/such/binary"}, ModelDir: t.TempDir()})
		for range c.busy {
			p.turns <- struct{}{}
		}
		_, _, err := p.spare(t.Context())
		if err == nil || errors.Is(err, voice.ErrBusy) != c.refused {
			t.Errorf("%d of %d decoders in use: %v, want refused %t", c.busy, c.workers, err, c.refused)
		}
		if len(p.turns) != c.busy {
			t.Errorf("%d turns are taken, want %d", len(p.turns), c.busy)
		}
		p.close()
	}
}
