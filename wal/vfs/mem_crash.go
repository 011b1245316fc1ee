package vfs

import (
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
)

// Crash says what a power cut does with what was not synced.
type Crash struct {
	Rand *rand.Rand
	// Keep is the chance, 0 to 1, that an unsynced change of a name, or a piece of an unsynced write, is on disk all the
	// same. Each is decided by itself: this is how writes come to be reordered and torn.
	Keep float64
	// Garbage is the chance that a file which grew, but whose new bytes were lost, shows random bytes there, not zeros.
	Garbage float64
	// Sector is the size in bytes of the pieces that are written or not: 512 or 4096 on real disks. 0: 512.
	Sector int64
}

// CrashClone returns what is found after a power cut at this moment, as a file system of its own, with no locks, hook
// or limits and everything durable. m goes on undisturbed.
func (m *Mem) CrashClone(c Crash) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.Sector == 0 {
		c.Sector = 512
	}
	clone := NewMem()
	nodes := map[*memNode]*memNode{}
	for _, path := range slices.Sorted(maps.Keys(m.dirs)) { // a folder before those in it
		d := m.dirs[path]
		if clone.dirs[filepath.Dir(path)] == nil || !d.named && !c.keeps() {
			continue
		}
		names := maps.Clone(d.durable)
		for _, change := range d.changes {
			if c.keeps() {
				apply(names, change.set)
			}
		}
		found := newMemDir()
		found.named = true
		for _, name := range slices.Sorted(maps.Keys(names)) {
			node := names[name]
			if nodes[node] == nil {
				nodes[node] = c.survivor(node)
			}
			nodes[node].path = filepath.Join(path, name)
			found.names[name] = nodes[node]
		}
		found.durable = maps.Clone(found.names)
		clone.dirs[path] = found
	}
	return clone
}

func (c Crash) keeps() bool { return c.Rand.Float64() < c.Keep }

// survivor is a file with a random part of its unsynced changes. The length of a file that grew may be there without
// the bytes; a write whose front was lost leaves zeros there.
func (c Crash) survivor(node *memNode) *memNode {
	data := slices.Clone(node.durable)
	for _, change := range node.changes {
		if change.data == nil {
			if c.keeps() {
				data = resized(data, change.off)
			}
			continue
		}
		data = c.torn(c.longer(data, change), change)
	}
	return &memNode{data: data, durable: slices.Clone(data)}
}

func (c Crash) longer(data []byte, change byteChange) []byte {
	before, end := int64(len(data)), change.off+int64(len(change.data))
	if end <= before || !c.keeps() {
		return data
	}
	data = resized(data, end)
	if c.Rand.Float64() < c.Garbage {
		for i := before; i < end; i++ {
			data[i] = byte(c.Rand.Uint32())
		}
	}
	return data
}

func (c Crash) torn(data []byte, change byteChange) []byte {
	for at := int64(0); at < int64(len(change.data)); {
		next := min((change.off+at)/c.Sector*c.Sector+c.Sector-change.off, int64(len(change.data)))
		if c.keeps() {
			data = written(data, change.data[at:next], change.off+at)
		}
		at = next
	}
	return data
}

// KillClone returns what the next process finds when this one dies at this moment and the machine goes on: all that was
// done, synced or not, and what was not synced still needs it. The clone has no locks, hook or limits. Files that are
// open go on writing to m.
func (m *Mem) KillClone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	clone, nodes := NewMem(), map[*memNode]*memNode{nil: nil}
	copied := func(names map[string]*memNode) map[string]*memNode {
		same := make(map[string]*memNode, len(names))
		for name, node := range names {
			if _, done := nodes[node]; !done {
				nodes[node] = &memNode{path: node.path, data: slices.Clone(node.data), durable: slices.Clone(node.durable), changes: slices.Clone(node.changes)}
			}
			same[name] = nodes[node]
		}
		return same
	}
	for path, d := range m.dirs {
		found := &memDir{names: copied(d.names), durable: copied(d.durable), named: d.named}
		for _, change := range d.changes {
			found.changes = append(found.changes, nameChange{copied(change.set)})
		}
		clone.dirs[path] = found
	}
	return clone
}
