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
	for _, path := range slices.Sorted(maps.Keys(m.dirs)) {
		d := m.dirs[path]
		names := maps.Clone(d.durable)
		for _, change := range d.changes {
			if c.keeps() {
				apply(names, change.set)
			}
		}
		found := newMemDir()
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

// survivor is a file with a random part of its unsynced changes. A write whose front was lost leaves zeros there.
func (c Crash) survivor(node *memNode) *memNode {
	data := slices.Clone(node.durable)
	for _, change := range node.changes {
		if change.data == nil {
			if c.keeps() {
				data = resized(data, change.off)
			}
			continue
		}
		data = c.torn(data, change)
	}
	return &memNode{data: data, durable: slices.Clone(data)}
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
