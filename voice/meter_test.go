package voice_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/recognisertest"
	"github.com/google/uuid"
)

// TestCounts: what a desk says of itself is what its clients met.
func TestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		d, _ := newDesk(t, voice.DeskOptions{MaxSessions: 1, Grace: -1}, recognisertest.Script{
			Finals: []string{"one", "", "three"}, Hold: hold,
		})
		l := enter(t, d, voice.SessionOptions{})
		if _, err := d.Admit(t.Context(), uuid.Nil); bloodbank.CodeOf(err) != bloodbank.CodeUnavailable {
			t.Fatalf("a second client: %v", err)
		}
		speech := said(3, 700*time.Millisecond)
		if err := l.Write(t.Context(), speech); err != nil {
			t.Fatal(err)
		}
		if s := d.Status(); s.Sessions != 1 || s.MaxSessions != 1 || s.MaxLag != 15 || s.Counts.Opened != 1 {
			t.Errorf("while it speaks: %+v", s)
		}
		go func() {
			for range 3 {
				time.Sleep(300 * time.Millisecond)
				hold <- struct{}{}
			}
		}()
		if _, err := l.End(t.Context(), voice.ReasonEnd); err != nil {
			t.Fatal(err)
		}
		c := d.Status().Counts
		seconds := float64(len(speech)) / 2 / 16000
		if c.Refused != 1 || c.Utterances != 2 || c.Failed != 0 || c.Truncated != 0 || c.Audio < seconds-0.001 || c.Audio > seconds+0.001 {
			t.Errorf("%+v; %v s were spoken", c, seconds)
		}
		// All had ended at once, since the audio came at once: 0.3 s and 0.9 s.
		if want := []uint64{0, 0, 1, 2, 2, 2, 2, 2}; c.Delay.Count != 2 || math.Abs(c.Delay.Seconds-1.2) > 0.001 || !slices.Equal(c.Delay.Buckets, want) {
			t.Errorf("delays %+v", c.Delay)
		}
	})
}

// TestCountsOfWhatIsLost: speech that has no outcome, or is not accepted, is counted.
func TestCountsOfWhatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, events := newDesk(t, voice.DeskOptions{}, recognisertest.Script{Finals: []string{"one", "two"}})
		l := enter(t, d, voice.SessionOptions{})
		events.refuse = func(bloodbank.Envelope) error { return errors.New("the disk is full") }
		if err := l.Write(t.Context(), said(2, 700*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := l.End(ctx, voice.ReasonEnd); err == nil {
			t.Error("a session whose events are not accepted ends well")
		}
		if c := d.Status().Counts; c.Failed != 2 || c.Utterances != 0 || c.Delay.Count != 0 {
			t.Errorf("%+v", c)
		}
	})
}
