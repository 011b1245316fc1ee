package voice_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/recognisertest"
)

// A stream that is given up at the moment in which its audio ends: the goroutine of the
// open utterance and the writer do not get in each other's way.
func TestSegmenterIsAbortedAtItsEnd(t *testing.T) {
	t.Parallel()
	speech := said(1, 2*time.Second)
	open := make([]int16, len(speech)/4) // half of it
	for i := range open {
		open[i] = int16(uint16(speech[2*i]) | uint16(speech[2*i+1])<<8)
	}
	for range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		s, err := voice.NewSegmenter(ctx, recognisertest.NewScripted(recognisertest.Script{}), audio.EndpointSettings{})
		if err != nil {
			t.Fatal(err)
		}
		var both sync.WaitGroup
		both.Go(func() {
			for r := range s.Results() {
				if _, ok := r.(voice.Started); ok {
					cancel()
				}
			}
		})
		if err := s.Write(ctx, open); err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
		if err := s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		both.Wait()
		cancel()
	}
}
