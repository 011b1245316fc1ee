package voice

import (
	"sync"
	"time"
)

// Counts sum up what a desk has done since it was made.
type Counts struct {
	Opened  uint64 `json:"opened"`  // sessions, those taken up from an earlier process included
	Refused uint64 `json:"refused"` // clients for whom there was no place
	// Audio is what was received, in seconds.
	Audio float64 `json:"audio_seconds"`
	// Utterances were published; Truncated of them were cut off by a lost connection.
	Utterances uint64 `json:"utterances"`
	Truncated  uint64 `json:"truncated"`
	// Failed were spoken, and lost: not recognised or not accepted.
	Failed uint64 `json:"failed"`
	// Delay is from the decided end of an utterance to its event being durable.
	Delay Delays `json:"final_delay"`
}

// Delays is a histogram. Bucket i counts those of at most DelayBounds()[i], and
// those of the buckets before it.
type Delays struct {
	Count   uint64   `json:"count"`
	Seconds float64  `json:"sum_seconds"`
	Buckets []uint64 `json:"buckets"`
}

// DelayBounds are the upper bounds of the buckets of [Delays] in seconds.
func DelayBounds() []float64 { return []float64{0.1, 0.25, 0.5, 1, 2, 4, 8, 16} }

func (d *Delays) add(took time.Duration) {
	if d.Buckets == nil {
		d.Buckets = make([]uint64, len(DelayBounds()))
	}
	d.Count++
	d.Seconds += took.Seconds()
	for i, bound := range DelayBounds() {
		if took.Seconds() <= bound {
			d.Buckets[i]++
		}
	}
}

// meter counts for all sessions of a desk. A nil one counts nothing.
type meter struct {
	mu     sync.Mutex
	counts Counts
}

func (m *meter) count(f func(*Counts)) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.counts)
}

// outcome counts a transcription that was published, or not accepted. The zero time
// says that its end was never told.
func (m *meter) outcome(u Update, paused time.Time) {
	m.count(func(c *Counts) {
		switch {
		case u.Kind == KindFailed:
			c.Failed++
			return
		case u.Text == "":
			return
		}
		c.Utterances++
		if u.Truncated {
			c.Truncated++
		}
		if !paused.IsZero() {
			c.Delay.add(time.Since(paused))
		}
	})
}

func (m *meter) snapshot() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.counts
	c.Delay.Buckets = append(make([]uint64, 0, len(DelayBounds())), c.Delay.Buckets...)
	return c
}
