package listenws

import (
	"sync"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/google/uuid"
)

// lookEvery is how often the reporter's clock is looked at.
const lookEvery = 100 * time.Millisecond

// reporter turns the news of a session into messages. update and look are called by one
// goroutine, finalize and hears by any.
type reporter struct {
	p      params
	source resultSource

	open    map[int]time.Duration // where the utterances without an outcome start
	lastEnd time.Duration         // of the last word
	owed    bool                  // an UtteranceEnd for it, when the pause is long enough
	sure    time.Duration         // the audio clock at the last look: all news of before has come

	mu    sync.Mutex
	clock time.Duration // audio that the recogniser has taken
	asked int           // looks left until a Finalize that finds nothing open is answered
}

func newReporter(p params, id, recogniser string) *reporter {
	return &reporter{p: p, open: map[int]time.Duration{}, source: resultSource{
		RequestID: id, Model: modelInfo{Name: recogniser, Version: "bloodbank", Arch: recogniser},
		ModelUUID: uuid.NewSHA1(uuid.NameSpaceURL, []byte("bloodbank:recogniser:"+recogniser)).String(),
	}}
}

// finalize notes that the client asks for what is open. Call it before the session is
// asked, or the answer could come first.
func (r *reporter) finalize() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = 3
}

// hears notes how far the recogniser is.
func (r *reporter) hears(clock time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock = clock
}

// update is told of one update and answers with what to send.
func (r *reporter) update(u voice.Update) (out []any) {
	switch u.Kind {
	case voice.KindStarted:
		return r.begins(u)
	case voice.KindInterim:
		if start, known := r.open[u.Utterance]; known && r.p.interim {
			return []any{r.interim(u, start)}
		}
	case voice.KindFinal:
		return []any{r.final(u)}
	case voice.KindFailed:
		delete(r.open, u.Utterance)
		text := "an utterance was lost: " + u.Err.Error()
		if u.Text != "" {
			text = "an utterance was heard but not saved (" + u.Text + "): " + u.Err.Error()
		}
		return []any{failure{"Error", text, r.source.RequestID}}
	case voice.KindAway:
		return []any{failure{"Error", u.Err.Error(), r.source.RequestID}}
	}
	return nil
}

func (r *reporter) begins(u voice.Update) (out []any) {
	if r.owed && u.Start-r.lastEnd >= r.p.utteranceEnd {
		out = append(out, r.pause())
	}
	r.owed = false
	r.open[u.Utterance] = u.Start
	if r.p.vad {
		out = append(out, speechStarted{"SpeechStarted", theChannel(), inSeconds(u.Start)})
	}
	return out
}

func (r *reporter) pause() utteranceEnd {
	r.owed = false
	return utteranceEnd{"UtteranceEnd", theChannel(), inSeconds(r.lastEnd)}
}

func (r *reporter) results(start, end time.Duration, a alternative) results {
	return results{
		Type: "Results", ChannelIndex: theChannel(), Start: inSeconds(start), Duration: inSeconds(max(0, end-start)),
		Channel: channel{Alternatives: []alternative{a}}, Metadata: r.source,
	}
}

func (r *reporter) interim(u voice.Update, start time.Duration) results {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.results(start, r.clock, alternative{Transcript: u.Text, Words: []word{}})
}

func (r *reporter) final(u voice.Update) results {
	t := u.Final
	delete(r.open, u.Utterance)
	m := r.results(u.Start, u.End, heard(t))
	m.IsFinal = true
	m.SpeechFinal = r.p.endpointing && t.Reason != audio.EndLength
	m.FromFinalize = r.answers(t.Reason)
	if t.Model != "" {
		m.Metadata.Model.Name = t.Model
	}
	if t.Text == "" {
		return m
	}
	r.lastEnd = u.End
	if n := len(t.Words); n > 0 {
		r.lastEnd = t.Words[n-1].End
	}
	r.owed = r.p.utteranceEnd > 0 && len(r.open) == 0
	return m
}

// answers reports whether a final is the answer to a Finalize: it was cut off for it, or
// it is the last that was open, for recognisers that do not tell why.
func (r *reporter) answers(why audio.EndReason) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if why == audio.EndRequest || r.asked > 0 && len(r.open) == 0 {
		r.asked = 0
		return true
	}
	return false
}

// look is called every lookEvery. News of speech comes a little after the audio, so only
// what was heard before the last look counts as quiet.
func (r *reporter) look() (out []any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	quiet := len(r.open) == 0
	if r.owed && quiet && r.sure-r.lastEnd >= r.p.utteranceEnd {
		out = append(out, r.pause())
	}
	r.sure = r.clock
	if r.asked == 0 || !quiet {
		return out
	}
	if r.asked--; r.asked > 0 {
		return out
	}
	m := r.results(r.clock, r.clock, alternative{Words: []word{}})
	m.IsFinal, m.FromFinalize = true, true
	return append(out, m)
}
