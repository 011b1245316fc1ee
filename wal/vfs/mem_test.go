package vfs_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"testing"

	"github.com/33god/bloodbank/wal/vfs"
)

// lost is a power cut that leaves only what was synced.
func lost(m *vfs.Mem) *vfs.Mem {
	return m.CrashClone(vfs.Crash{Rand: rand.New(rand.NewPCG(1, 1))})
}

func create(t *testing.T, m *vfs.Mem, path, content string) vfs.File {
	t.Helper()
	f, err := m.Open(path, vfs.Create)
	if err != nil {
		t.Fatal(err)
	}
	write(t, f, content, 0)
	return f
}

// TestNamesOfFoldersAreDurableByTheFolderAbove makes folders in folders; one that is not there takes all below it along.
func TestNamesOfFoldersAreDurableByTheFolderAbove(t *testing.T) {
	t.Parallel()
	m := vfs.NewMem()
	if err := m.MkdirAll("/a/b"); err != nil {
		t.Fatal(err)
	}
	f := create(t, m, "/a/b/f", "content")
	if err := errors.Join(f.Sync(), m.SyncDir("/a/b"), m.SyncDir("/a")); err != nil {
		t.Fatal(err)
	}
	if _, err := lost(m).ReadDir("/a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder without a durable name is there: %v", err)
	}
	if err := m.SyncDir("/"); err != nil {
		t.Fatal(err)
	}
	if data, err := vfs.ReadFile(lost(m), "/a/b/f"); string(data) != "content" || err != nil {
		t.Errorf("with all names durable: %q, %v", data, err)
	}
}

// TestDroppedSync is an fsync that fails as on Linux: what it should have written is read back, a second fsync says yes,
// and only a power cut shows that it was never written.
func TestDroppedSync(t *testing.T) {
	t.Parallel()
	m, fault := vfs.NewMem(), errors.New("fault")
	f := create(t, m, "/f", "old")
	if err := errors.Join(f.Sync(), m.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	write(t, f, "new", 0)
	m.SetHook(func(op vfs.Op) vfs.Fault {
		if op.Kind == vfs.OpSync {
			return vfs.Fault{Err: fault, Drop: true}
		}
		return vfs.Fault{}
	})
	if err := f.Sync(); !errors.Is(err, fault) {
		t.Fatal(err)
	}
	m.SetHook(nil)
	write(t, f, "+", 3)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if data, err := vfs.ReadFile(m, "/f"); string(data) != "new+" || err != nil {
		t.Errorf("before the cut: %q, %v", data, err)
	}
	if data, err := vfs.ReadFile(lost(m), "/f"); string(data) != "old+" || err != nil {
		t.Errorf("after the cut: %q, %v", data, err)
	}
}

// TestLyingSync has one file's fsync say yes and do nothing.
func TestLyingSync(t *testing.T) {
	t.Parallel()
	m := vfs.NewMem()
	liar, honest := create(t, m, "/liar", "x"), create(t, m, "/honest", "y")
	m.SetHook(func(op vfs.Op) vfs.Fault { return vfs.Fault{Lie: op.Path == "/liar"} })
	if err := errors.Join(liar.Sync(), honest.Sync(), m.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	write(t, liar, "z", 1) // only a sync can lie
	for path, want := range map[string]string{"/liar": "", "/honest": "y"} {
		if data, err := vfs.ReadFile(lost(m), path); string(data) != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", path, data, err, want)
		}
	}
}

// TestKillClone is the death of a process: what it wrote is there, and still needs a sync.
func TestKillClone(t *testing.T) {
	t.Parallel()
	m := vfs.NewMem()
	f := create(t, m, "/synced", "s")
	if err := errors.Join(f.Sync(), m.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	write(t, f, "!", 1)
	create(t, m, "/fresh", "f")
	if err := m.Rename("/fresh", "/named"); err != nil {
		t.Fatal(err)
	}
	clone := m.KillClone()
	write(t, f, "of the dead process", 0)
	for path, want := range map[string]string{"/synced": "s!", "/named": "f"} {
		if data, err := vfs.ReadFile(clone, path); string(data) != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", path, data, err, want)
		}
	}
	after := lost(clone)
	if data, err := vfs.ReadFile(after, "/synced"); string(data) != "s" || err != nil {
		t.Errorf("after a power cut: %q, %v", data, err)
	}
	if entries, err := after.ReadDir("/"); len(entries) != 1 || err != nil {
		t.Errorf("after a power cut there are %+v, %v", entries, err)
	}
	g, err := clone.Open("/synced", vfs.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Sync(); err != nil {
		t.Fatal(err)
	}
	if data, err := vfs.ReadFile(lost(clone), "/synced"); string(data) != "s!" || err != nil {
		t.Errorf("synced by the next process: %q, %v", data, err)
	}
}

// TestLengthWithoutBytes wants to see a file whose new length is there and whose new bytes are not: zeros, or garbage.
func TestLengthWithoutBytes(t *testing.T) {
	t.Parallel()
	m := vfs.NewMem()
	f := create(t, m, "/f", "")
	if err := m.SyncDir("/"); err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("x"), 512)
	write(t, f, string(content), 0)
	rng, zeros, garbage := rand.New(rand.NewPCG(3, 3)), 0, 0
	for range 200 {
		data, err := vfs.ReadFile(m.CrashClone(vfs.Crash{Rand: rng, Keep: 0.5, Garbage: 0.5}), "/f")
		switch {
		case err != nil:
			t.Fatal(err)
		case len(data) == 0, bytes.Equal(data, content):
		case bytes.Equal(data, make([]byte, 512)):
			zeros++
		default:
			garbage++
		}
	}
	if zeros == 0 || garbage == 0 {
		t.Errorf("zeros %d times, garbage %d times", zeros, garbage)
	}
}
