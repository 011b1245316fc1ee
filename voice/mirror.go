package voice

import "sync"

// Mirror holds what an upstream that speaks a protocol of clients itself tells of a
// session, for doors that speak the same. It never waits for a reader: who is late
// gets the newest state.
type Mirror struct {
	mu      sync.Mutex
	newest  Mirrored
	changed chan struct{}
}

// Mirrored is a state of upstream.
type Mirrored struct {
	// State is its message byte for byte; nil where there is none, or where upstream
	// does not know the whole session any more.
	State   []byte
	Version uint64 // rises with each state
}

func newMirror() *Mirror { return &Mirror{changed: make(chan struct{})} }

// Newest is the newest state, and a channel that is closed with the next one.
func (m *Mirror) Newest() (Mirrored, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.newest, m.changed
}

func (m *Mirror) show(state []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.newest.State = state
	m.newest.Version++
	close(m.changed)
	m.changed = make(chan struct{})
}
