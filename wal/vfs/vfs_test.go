package vfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/33god/bloodbank/wal/vfs"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestBothFileSystems holds the real file system and the one in memory to the same behaviour.
func TestBothFileSystems(t *testing.T) {
	t.Parallel()
	for name, fsys := range map[string]vfs.FS{"os": vfs.OS(), "mem": vfs.NewMem()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "a", "b")
			if err := fsys.MkdirAll(dir); err != nil {
				t.Fatal(err)
			}
			if err := fsys.MkdirAll(dir); err != nil {
				t.Fatalf("again: %v", err)
			}
			t.Run("files", func(t *testing.T) { testFiles(t, fsys, dir) })
			t.Run("names", func(t *testing.T) { testNames(t, fsys, dir) })
			t.Run("lock", func(t *testing.T) { testLock(t, fsys, filepath.Join(dir, "lock")) })
		})
	}
}

func testFiles(t *testing.T, fsys vfs.FS, dir string) {
	path := filepath.Join(dir, "file")
	for _, mode := range []vfs.Mode{vfs.ReadOnly, vfs.ReadWrite} {
		if _, err := fsys.Open(path, mode); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("open of a missing file: %v", err)
		}
	}
	f, err := fsys.Open(path, vfs.Create)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.WriteAt([]byte("hello"), 3); n != 5 || err != nil {
		t.Errorf("write: %d, %v", n, err)
	}
	got := make([]byte, 10)
	if n, err := f.ReadAt(got, 0); n != 8 || !errors.Is(err, io.EOF) || string(got[:n]) != "\x00\x00\x00hello" {
		t.Errorf("read: %q, %v", got[:n], err)
	}
	if n, err := f.ReadAt(got, 100); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read behind the end: %d, %v", n, err)
	}
	for _, size := range []int64{4, 6} {
		if err := f.Truncate(size); err != nil {
			t.Error(err)
		}
		if got, err := f.Size(); got != size || err != nil {
			t.Errorf("size %d, %v; want %d", got, err, size)
		}
	}
	if data, err := vfs.ReadFile(fsys, path); !bytes.Equal(data, []byte("\x00\x00\x00h\x00\x00")) || err != nil {
		t.Errorf("cut and grown: %q, %v", data, err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Error(err)
	}
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("write to a closed file: %v", err)
	}
	r, err := fsys.Open(path, vfs.ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a file opened for reading was written")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if f, err = fsys.Open(path, vfs.Create); err != nil {
		t.Fatal(err)
	}
	if size, err := f.Size(); size != 0 || err != nil {
		t.Errorf("created again it has %d bytes, %v", size, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func testNames(t *testing.T, fsys vfs.FS, dir string) {
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"x", "y"} {
		if err := vfs.WriteFile(fsys, path(name), []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	open, err := fsys.Open(path("y"), vfs.ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if err := fsys.Rename(path("x"), path("y")); err != nil {
		t.Fatal(err)
	}
	if data, err := vfs.ReadFile(fsys, path("y")); string(data) != "x" || err != nil {
		t.Errorf("after the rename: %q, %v", data, err)
	}
	if err := fsys.Remove(path("y")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 1)
	if _, err := open.ReadAt(got, 0); err != nil || string(got) != "y" {
		t.Errorf("a replaced file that is open reads %q, %v", got, err)
	}
	if err := fsys.Remove(path("y")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed twice: %v", err)
	}
	if err := fsys.Rename(path("x"), path("z")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("renamed a missing file: %v", err)
	}
	entries, err := fsys.ReadDir(filepath.Dir(dir))
	if err != nil || len(entries) != 1 || entries[0].Name != filepath.Base(dir) || !entries[0].Dir {
		t.Errorf("the parent holds %+v, %v", entries, err)
	}
	if _, err := fsys.ReadDir(path("none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
	if err := fsys.SyncDir(dir); err != nil {
		t.Error(err)
	}
}

func testLock(t *testing.T, fsys vfs.FS, path string) {
	first, err := fsys.Lock(path, "me")
	if err != nil {
		t.Fatal(err)
	}
	var held *vfs.HeldError
	if _, err := fsys.Lock(path, "you"); !errors.As(err, &held) || held.Holder != "me" {
		t.Fatalf("taken twice: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := fsys.Lock(path, "you")
	if err != nil {
		t.Fatalf("after it was let go: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, f vfs.File, data string, off int64) {
	t.Helper()
	if _, err := f.WriteAt([]byte(data), off); err != nil {
		t.Fatal(err)
	}
}

// TestCrashKeepsWhatWasSynced looks at what a power cut leaves of synced and unsynced changes, at both extremes.
func TestCrashKeepsWhatWasSynced(t *testing.T) {
	t.Parallel()
	m := vfs.NewMem()
	kept, err := m.Open("/kept", vfs.Create)
	if err != nil {
		t.Fatal(err)
	}
	write(t, kept, "old", 0)
	if err := errors.Join(kept.Sync(), m.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	write(t, kept, "NEW and longer", 0)
	fresh, err := m.Open("/fresh", vfs.Create)
	if err != nil {
		t.Fatal(err)
	}
	write(t, fresh, "synced, but not its name", 0)
	if err := fresh.Sync(); err != nil {
		t.Fatal(err)
	}
	for keep, want := range map[float64]map[string]string{
		0: {"kept": "old"},
		1: {"kept": "NEW and longer", "fresh": "synced, but not its name"},
	} {
		clone := m.CrashClone(vfs.Crash{Rand: rand.New(rand.NewPCG(1, 1)), Keep: keep})
		entries, err := clone.ReadDir("/")
		if err != nil || len(entries) != len(want) {
			t.Fatalf("keep %v: %+v, %v", keep, entries, err)
		}
		for name, content := range want {
			if data, err := vfs.ReadFile(clone, "/"+name); string(data) != content || err != nil {
				t.Errorf("keep %v: %s is %q, %v; want %q", keep, name, data, err, content)
			}
		}
	}
	if data, err := vfs.ReadFile(m, "/kept"); string(data) != "NEW and longer" || err != nil {
		t.Errorf("the original was disturbed: %q, %v", data, err)
	}
}

// TestCrashTearsAndReorders wants to see every outcome of two unsynced writes of two sectors each: kept or lost each by
// itself, so a later one without an earlier one too.
func TestCrashTearsAndReorders(t *testing.T) {
	t.Parallel()
	m := vfs.NewMem()
	f, err := m.Open("/f", vfs.Create)
	if err != nil {
		t.Fatal(err)
	}
	block := func(c string) string { return string(bytes.Repeat([]byte(c), 512)) }
	write(t, f, block(".")+block(".")+block(".")+block("."), 0)
	if err := errors.Join(f.Sync(), m.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	write(t, f, block("a")+block("b"), 0)
	write(t, f, block("c")+block("d"), 1024)
	rng, seen := rand.New(rand.NewPCG(7, 7)), map[string]bool{}
	for range 400 {
		data, err := vfs.ReadFile(m.CrashClone(vfs.Crash{Rand: rng, Keep: 0.5}), "/f")
		if err != nil || len(data) != 2048 {
			t.Fatalf("%d bytes, %v", len(data), err)
		}
		seen[fmt.Sprintf("%c%c%c%c", data[0], data[512], data[1024], data[1536])] = true
	}
	if len(seen) != 16 {
		t.Errorf("%d outcomes of 16: %v", len(seen), seen)
	}
	rename := m.CrashClone(vfs.Crash{Rand: rng, Keep: 1})
	if err := rename.Rename("/f", "/g"); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		entries, err := rename.CrashClone(vfs.Crash{Rand: rng, Keep: 0.5}).ReadDir("/")
		if err != nil || len(entries) != 1 {
			t.Fatalf("a rename is one step, yet there are %+v, %v", entries, err)
		}
	}
}

func TestMemFaults(t *testing.T) {
	t.Parallel()
	m, fault := vfs.NewMem(), errors.New("fault")
	f, err := m.Open("/f", vfs.Create)
	if err != nil {
		t.Fatal(err)
	}
	m.SetHook(func(op vfs.Op) vfs.Fault {
		if op.Kind != vfs.OpWrite {
			return vfs.Fault{}
		}
		return vfs.Fault{Err: fault, Short: 2, Happened: op.Off > 0}
	})
	if n, err := f.WriteAt([]byte("abc"), 0); n != 2 || !errors.Is(err, fault) {
		t.Errorf("short write: %d, %v", n, err)
	}
	if n, err := f.WriteAt([]byte("xyz"), 2); n != 3 || !errors.Is(err, fault) {
		t.Errorf("write that failed but happened: %d, %v", n, err)
	}
	m.SetHook(nil)
	if data, err := vfs.ReadFile(m, "/f"); string(data) != "abxyz" || err != nil {
		t.Errorf("on disk is %q, %v", data, err)
	}
	m.SetSpace(3)
	if n, err := f.WriteAt([]byte("123456"), 4); n != 4 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("with room for 3 more: %d, %v", n, err)
	}
	if n, err := f.WriteAt([]byte("over"), 0); n != 4 || err != nil {
		t.Errorf("overwriting needs no room: %d, %v", n, err)
	}
	if err := f.Truncate(4); err != nil {
		t.Fatal(err)
	}
	if n, err := f.WriteAt([]byte("567"), 4); n != 3 || err != nil {
		t.Errorf("after truncating: %d, %v", n, err)
	}
	m.SetLies(true)
	if err := errors.Join(f.Sync(), m.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	entries, err := m.CrashClone(vfs.Crash{Rand: rand.New(rand.NewPCG(1, 1))}).ReadDir("/")
	if err != nil || len(entries) != 0 {
		t.Errorf("a disk that lies kept %+v, %v", entries, err)
	}
}
