package torture

import (
	"sync"
	"time"
)

// Sample is what the program used at a moment.
type Sample struct {
	// At is the time since the beginning in milliseconds.
	At    Milliseconds `json:"at_ms"`
	RSS   int64        `json:"rss_bytes"`
	Files int          `json:"files"`
}

// maxSamples bounds the list; above it every second one goes, and samples get
// rarer.
const maxSamples = 2000

// meter looks at the program again and again, until it is stopped.
type meter struct {
	began time.Time
	quit  chan struct{}
	done  chan struct{}

	mu      sync.Mutex
	child   *child
	every   time.Duration
	samples []Sample
	peak    Sample
}

func startMeter(every time.Duration) *meter {
	m := &meter{began: time.Now(), every: every, quit: make(chan struct{}), done: make(chan struct{})}
	go m.run()
	return m
}

func (m *meter) run() {
	defer close(m.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			timer.Reset(m.look())
		case <-m.quit:
			return
		}
	}
}

func (m *meter) stop() {
	close(m.quit)
	<-m.done
}

// watch changes the program to look at.
func (m *meter) watch(c *child) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.child = c
}

func (m *meter) look() (next time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.child == nil || m.child.gone() {
		return m.every
	}
	s := Sample{At: Milliseconds(time.Since(m.began))}
	if s.RSS, s.Files = m.child.usage(); s.RSS == 0 {
		return m.every
	}
	m.samples = append(m.samples, s)
	m.peak.RSS, m.peak.Files = max(m.peak.RSS, s.RSS), max(m.peak.Files, s.Files)
	if len(m.samples) >= maxSamples {
		for i := range maxSamples / 2 {
			m.samples[i] = m.samples[2*i]
		}
		m.samples, m.every = m.samples[:maxSamples/2], 2*m.every
	}
	return m.every
}

// result may be called once the meter is stopped.
func (m *meter) result() ([]Sample, Sample) { return m.samples, m.peak }
