package schema

import (
	"math"
	"testing"
	"time"

	"github.com/33god/bloodbank"
)

// speech is a transcription with every member: 732 bytes.
const speech = `{"text":"Log this idea: we need better cooling for the rack, because the fans in the lower half run at full speed all day long and the ` +
	`temperature in the room still rises above thirty degrees in the afternoon when the sun is on the window; ask the landlord whether we may put up ` +
	`blinds on the outside, and order two more of the big and really quiet fans.","timestamp":"2026-01-27T10:00:00.123456+00:00","source":"whisperlivekit",` +
	`"session_id":"550e8400-e29b-41d4-a716-446655440000","target":"tonny","audio_metadata":{"duration_seconds":13.52,"sample_rate":16000,"confidence":0.95,` +
	`"language":"en","model":"base","speaker_id":"speaker_1"},"context":{"device_type":"mobile","user_id":"user123","tags":["meeting","notes","hardware"]}}`

func BenchmarkValidate(b *testing.B) {
	r, err := Open(b.Context(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	e, payload := r.entries[bloodbank.TypeVoiceCompleted], []byte(speech)
	if err := r.Validate(bloodbank.TypeVoiceCompleted, payload); err != nil {
		b.Fatal(err)
	}
	b.Run("quick", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(payload)))
		for b.Loop() {
			if r.Validate(bloodbank.TypeVoiceCompleted, payload) != nil {
				b.Fatal("refused")
			}
		}
	})
	b.Run("reference", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(payload)))
		for b.Loop() {
			if e.judge(payload) != nil {
				b.Fatal("refused")
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		if _, err := Open(b.Context(), Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFirstUse(b *testing.B) {
	for b.Loop() {
		r, err := Open(b.Context(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Validate(bloodbank.TypeVoiceCompleted, []byte(speech)); err != nil {
			b.Fatal(err)
		}
	}
}

// The quick checker is worth its code only while it is far cheaper. The race
// detector and a busy machine bring the two closer; BenchmarkValidate has the
// true ratio.
func TestQuickCheckerIsQuick(t *testing.T) {
	e := embeddedByType(t)[bloodbank.TypeVoiceCompleted]
	payload := []byte(speech)
	quick := fastest(func() { e.quick.accepts(payload) })
	reference := fastest(func() { e.judge(payload) })
	if ratio := float64(reference) / float64(quick); ratio < 2 {
		t.Errorf("reference %v, quick %v: only %.1f times faster", reference, quick, ratio)
	}
}

// fastest returns the best time of several rounds of f: other load on the machine
// only ever makes a round slower.
func fastest(f func()) time.Duration {
	best := time.Duration(math.MaxInt64)
	for range 50 {
		start := time.Now()
		for range 20 {
			f()
		}
		best = min(best, time.Since(start))
	}
	return best
}
