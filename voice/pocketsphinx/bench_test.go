package pocketsphinx_test

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/recognisertest"
)

// BenchmarkAccuracy hears the real clips, and the five sentences from two voices. The
// strict figure takes i'm for i am as wrong.
func BenchmarkAccuracy(b *testing.B) {
	r := recogniser(b)
	defer r.Close()
	for b.Loop() {
		faults, strict, words := clipErrors(b, r)
		b.ReportMetric(100*float64(faults)/float64(words), "wer-%")
		b.ReportMetric(100*float64(strict)/float64(words), "strict-wer-%")
		b.ReportMetric(float64(wrongSentences(b, r)), "sentences-wrong")
	}
}

// BenchmarkRealTime is one speaker at the speed of speaking: when the first text and the
// finals come, and what it costs. Loading the model is in the cost.
func BenchmarkRealTime(b *testing.B) {
	var pcm []int16
	for range 3 {
		for _, s := range exactSentences() {
			pcm = append(pcm, gap(recognisertest.Say(b, "rms", s))...)
		}
	}
	for b.Loop() {
		r := recogniser(b)
		before := childrenCPU(b)
		first, late := live(b, r, pcm)
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
		length := audio.Duration(int64(len(pcm)))
		b.ReportMetric(first.Seconds()*1000, "first-text-ms")
		b.ReportMetric(late.Seconds()*1000, "late-ms")
		b.ReportMetric((childrenCPU(b)-before).Seconds()/length.Seconds(), "cores")
	}
}

// live speaks in real time. first is the longest that the first text of an utterance
// took from its first sound; late the longest from an utterance's decided end to its
// final, less 0.35 of its length.
func live(b *testing.B, r voice.Recogniser, pcm []int16) (first, late time.Duration) {
	s, err := r.Open(b.Context(), voice.StreamOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	began := time.Now()
	go func() {
		defer s.CloseWrite()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for p := range slices.Chunk(pcm, audio.SampleRate/50) {
			<-tick.C
			if s.Write(b.Context(), p) != nil {
				return // the results then end early, too
			}
		}
	}()
	var ended time.Time
	var waiting time.Duration // the first sound of an utterance without text yet; 0 for none
	for result := range s.Results() {
		switch v := result.(type) {
		case voice.Started:
			waiting = firstSound(pcm, v.At)
		case voice.Interim:
			if waiting > 0 {
				first, waiting = max(first, time.Since(began)-waiting), 0
			}
		case voice.Ended:
			ended = time.Now()
		case voice.Final:
			late = max(late, time.Since(ended)-v.Duration()*35/100)
		case voice.Failed:
			b.Error(v.Err)
		}
	}
	return first, late
}

// firstSound is where it gets loud behind the start of an utterance, which is some
// quiet before.
func firstSound(pcm []int16, start time.Duration) time.Duration {
	from := audio.Samples(start)
	at := slices.IndexFunc(pcm[from:], func(s int16) bool { return max(s, -s) > 300 })
	return audio.Duration(from + int64(max(at, 0)))
}

func childrenCPU(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
