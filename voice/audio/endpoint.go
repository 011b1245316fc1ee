package audio

import (
	"errors"
	"fmt"
	"time"
)

// EndpointSettings tunes an [Endpointer]. Zero fields take the default; times are
// rounded down to whole frames of 20 ms.
type EndpointSettings struct {
	OnDB  float64 // dB above the noise floor that count as speech; default 9
	OffDB float64 // dB above the noise floor that still count once speech began; default 6
	// MinDB is the level below full scale under which nothing is speech, however
	// quiet the room; default -60.
	MinDB float64
	// StartFrames of the last StartWindow frames must be speech to begin; default 6 of 10.
	StartFrames, StartWindow int
	End                      time.Duration // silence that ends an utterance; default 600 ms; 200 ms to 5 s
	PreRoll                  time.Duration // audio kept from before the first speech frame; default 300 ms
	PostRoll                 time.Duration // audio kept after the last one; default 200 ms, at most End
	// Max is the longest utterance; default 20 s, at least 2 s. In its last quarter ever
	// shorter pauses end the utterance, so that words are seldom cut in two.
	Max   time.Duration
	Floor time.Duration // window of the noise floor; default 3 s
}

// WithDefaults fills the zero fields.
func (s EndpointSettings) WithDefaults() EndpointSettings {
	orElse(&s.OnDB, 9)
	orElse(&s.OffDB, 6)
	orElse(&s.MinDB, -60)
	orElse(&s.StartFrames, 6)
	orElse(&s.StartWindow, 10)
	orElse(&s.End, 600*time.Millisecond)
	orElse(&s.PreRoll, 300*time.Millisecond)
	orElse(&s.PostRoll, 200*time.Millisecond)
	orElse(&s.Max, 20*time.Second)
	orElse(&s.Floor, 3*time.Second)
	return s
}

func orElse[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

// Validate names every field that is out of range. Call it on settings with defaults.
func (s EndpointSettings) Validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("endpoint "+format, args...))
		}
	}
	check(s.OnDB >= s.OffDB && s.OffDB > 0, "OnDB %g and OffDB %g: OnDB must not be below OffDB, both above 0", s.OnDB, s.OffDB)
	check(s.MinDB < 0, "MinDB %g: give a level below 0 dB", s.MinDB)
	check(0 < s.StartFrames && s.StartFrames <= s.StartWindow && s.StartWindow <= 100,
		"StartFrames %d of StartWindow %d: give 1 to StartWindow, and a window of at most 100", s.StartFrames, s.StartWindow)
	check(s.End >= 200*time.Millisecond && s.End <= 5*time.Second, "End %s: give 200ms to 5s", s.End)
	check(s.PreRoll >= 0 && s.PreRoll <= 2*time.Second, "PreRoll %s: give 0s to 2s", s.PreRoll)
	check(s.PostRoll >= 0 && s.PostRoll <= s.End, "PostRoll %s: give 0s to End (%s)", s.PostRoll, s.End)
	check(s.Max >= 2*time.Second && s.Max <= time.Minute, "Max %s: give 2s to 1m", s.Max)
	check(s.Floor >= 500*time.Millisecond && s.Floor <= 30*time.Second, "Floor %s: give 500ms to 30s", s.Floor)
	return errors.Join(faults...)
}

// EndReason says why an utterance ended.
type EndReason string

// The reasons.
const (
	EndSilence EndReason = "silence" // the speaker paused
	EndLength  EndReason = "length"  // it reached the limit; the next one goes on without a gap
	EndStream  EndReason = "stream"  // the audio ended
)

// Listener is told what an [Endpointer] finds, in order: SpeechStart, then
// SpeechAudio any number of times, then SpeechEnd, and so on. Positions count
// samples from the start of the stream. pcm is only valid during the call.
type Listener interface {
	SpeechStart(at int64)
	SpeechAudio(pcm []int16)
	SpeechEnd(at int64, why EndReason)
}

const (
	frameTime = 20 * time.Millisecond
	frameSize = SampleRate / 50
	// Frames seen before the first decision: without them a stream that begins
	// in noise would be taken for speech.
	warmup = 25
)

// Endpointer finds utterances in a stream by the energy of its speech band over a
// following noise floor. Audio between utterances is passed over; no sample is told twice.
type Endpointer struct {
	set     EndpointSettings
	band    band
	floor   floor
	part    []int16 // samples of an unfinished frame
	waiting []frame // frames of the warm-up; then only the past that a start may reach back to
	seen    int     // frames measured
	quiet   []int16 // during speech: audio after the post-roll, told only if speech goes on
	talking bool
	begun   int64 // position of the start of the utterance
	last    int64 // position of the end of the last speech frame
	told    int64 // position up to which audio was told
	loud    int   // speech frames in a row while in a pause
}

type frame struct {
	at    int64
	level float64
	hot   bool
	pcm   []int16
}

// NewEndpointer makes an endpointer; settings are completed and checked.
func NewEndpointer(s EndpointSettings) (*Endpointer, error) {
	s = s.WithDefaults()
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return &Endpointer{set: s, band: newBand(), floor: newFloor(int(s.Floor / frameTime))}, nil
}

// Position is the number of samples taken so far: the audio clock.
func (e *Endpointer) Position() int64 { return int64(e.seen)*frameSize + int64(len(e.part)) }

// Write takes samples and tells l what they begin, continue or end.
func (e *Endpointer) Write(pcm []int16, l Listener) {
	for len(pcm) > 0 {
		n := min(frameSize-len(e.part), len(pcm))
		e.part = append(e.part, pcm[:n]...)
		pcm = pcm[n:]
		if len(e.part) == frameSize {
			e.measure(l)
			e.part = e.part[:0]
		}
	}
}

// Flush ends the stream: speech that is still open ends here. The Endpointer must
// not be written to afterwards.
func (e *Endpointer) Flush(l Listener) {
	if e.seen < warmup {
		e.release(l)
	}
	if !e.talking {
		return
	}
	if len(e.quiet) == 0 || e.loud > 0 {
		// Sound up to the very end: the last word may be in the unfinished frame.
		e.tell(append(e.quiet, e.part...), l)
	}
	e.finish(e.told, EndStream, l)
}

// measure takes the full frame in e.part.
func (e *Endpointer) measure(l Listener) {
	level := e.band.level(e.part)
	e.floor.add(level)
	f := frame{at: int64(e.seen) * frameSize, level: level, pcm: e.part}
	e.seen++
	if e.talking {
		e.inSpeech(f, l)
		return
	}
	e.remember(f)
	switch {
	case e.seen < warmup:
	case e.seen == warmup:
		e.release(l)
	default:
		e.consider(l)
	}
}

// release decides on the frames of the warm-up, one after the other, with the floor
// that all of them together gave.
func (e *Endpointer) release(l Listener) {
	frames := e.waiting
	e.waiting = nil
	for _, f := range frames {
		if e.talking {
			e.inSpeech(f, l)
			continue
		}
		e.remember(f)
		e.consider(l)
	}
}

// remember keeps a frame for a start that may reach back to it.
func (e *Endpointer) remember(f frame) {
	var reuse []int16
	if keep := e.set.StartWindow + int(e.set.PreRoll/frameTime); e.seen > warmup && len(e.waiting) >= keep {
		reuse = e.waiting[0].pcm[:0]
		e.waiting = e.waiting[:copy(e.waiting, e.waiting[len(e.waiting)-keep+1:])]
	}
	f.pcm = append(reuse, f.pcm...)
	e.waiting = append(e.waiting, f)
}

// consider begins an utterance if enough of the last frames are speech.
func (e *Endpointer) consider(l Listener) {
	newest := &e.waiting[len(e.waiting)-1]
	newest.hot = e.above(newest.level, e.set.OnDB)
	window := e.waiting[max(0, len(e.waiting)-e.set.StartWindow):]
	hot, first := 0, int64(0)
	for i := len(window) - 1; i >= 0; i-- {
		if window[i].hot {
			hot++
			first = window[i].at
		}
	}
	if hot < e.set.StartFrames {
		return
	}
	e.start(max(first-Samples(e.set.PreRoll), e.waiting[0].at), l)
}

func (e *Endpointer) start(from int64, l Listener) {
	frames := e.waiting
	e.talking, e.begun, e.told, e.loud = true, from, from, 0
	e.last = frames[len(frames)-1].at + frameSize
	l.SpeechStart(from)
	for _, f := range frames {
		if f.at >= from {
			e.tell(f.pcm, l)
		}
	}
	e.waiting = e.waiting[:0]
}

func (e *Endpointer) inSpeech(f frame, l Listener) {
	end := f.at + frameSize
	if e.above(f.level, e.set.OffDB) {
		e.loud++
	} else {
		e.loud = 0
	}
	switch {
	case e.loud > 1 || e.loud == 1 && f.at == e.last:
		// One loud frame in a pause is a click; two are the next word.
		e.tell(append(e.quiet, f.pcm...), l)
		e.quiet = e.quiet[:0]
		e.last = end
	case end-e.last <= Samples(e.set.PostRoll):
		e.tell(f.pcm, l)
	default:
		e.quiet = append(e.quiet, f.pcm...)
	}
	switch {
	case end-e.last >= e.pause(end-e.begun):
		e.finish(e.told, EndSilence, l)
	case end-e.begun >= Samples(e.set.Max):
		e.tell(e.quiet, l)
		e.cut(l)
	}
}

// pause is the silence, in samples, that ends an utterance of the given length.
func (e *Endpointer) pause(length int64) int64 {
	end, limit := Samples(e.set.End), Samples(e.set.Max)
	late := length - limit*3/4
	if late <= 0 {
		return end
	}
	const least = 100 * time.Millisecond
	return end - (end-Samples(least))*late/(limit/4)
}

// cut ends the utterance at the limit and goes on with the next at the same sample.
func (e *Endpointer) cut(l Listener) {
	at := e.told
	e.quiet = e.quiet[:0]
	l.SpeechEnd(at, EndLength)
	e.begun = at
	l.SpeechStart(at)
}

func (e *Endpointer) finish(at int64, why EndReason, l Listener) {
	e.talking = false
	// The next start may reach back into the pause, though never before it.
	for i := 0; i+frameSize <= len(e.quiet); i += frameSize {
		e.remember(frame{at: at + int64(i), level: silence, pcm: e.quiet[i : i+frameSize]})
	}
	e.quiet = e.quiet[:0]
	l.SpeechEnd(at, why)
}

func (e *Endpointer) tell(pcm []int16, l Listener) {
	if len(pcm) > 0 {
		l.SpeechAudio(pcm)
		e.told += int64(len(pcm))
	}
}

func (e *Endpointer) above(level, margin float64) bool {
	return level >= max(e.floor.level()+margin, e.set.MinDB)
}
