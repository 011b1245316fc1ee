package wal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/33god/bloodbank/wal"
)

const fullDiskDir = "BB_TEST_FULL_DISK"

// TestRealFullDisk fills a real file system: a small tmpfs that a child process mounts where nobody else sees it.
func TestRealFullDisk(t *testing.T) {
	if dir := os.Getenv(fullDiskDir); dir != "" {
		fillRealDisk(t, dir)
		return
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRealFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), fullDiskDir+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOSPC):
		t.Skipf("no file system of its own for this test: %v", err)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("no file system of its own for this test: %s", out)
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

func fillRealDisk(t *testing.T, dir string) {
	if err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m")); err != nil {
		t.Skipf("mount: %v", err)
	}
	other := filepath.Join(dir, "somebody else's file")
	if err := os.WriteFile(other, bytes.Repeat([]byte("x"), 512<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	g, o := newLedger(), wal.Options{Dir: filepath.Join(dir, "wal"), SegmentSize: 64 << 10}
	l := mustOpen(t, o)
	n := 0
	add := func() error {
		n++
		return g.append(t.Context(), t, l, fmt.Sprintf(`{"n":%d,"pad":"%01000d"}`, n, n))
	}
	fill := func() (accepted int) {
		for refused := 0; refused < 5; accepted++ {
			if err := add(); err != nil {
				wantError(t, err, wal.ErrFull)
				refused++
				accepted--
			}
		}
		g.check(t, l)
		return accepted
	}
	first := fill()
	mustClose(t, l)
	l = mustOpen(t, o) // a server must start on a full disk, or nothing could make room in its log
	g.check(t, l)
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	second := fill()
	if err := l.Truncate(t.Context(), l.Last()/2); err != nil {
		t.Fatal(err)
	}
	settled(t, l)
	third := fill()
	t.Logf("accepted %d, with somebody else's file gone %d more, with half of the log done with %d more", first, second, third)
	if first < 1000 || second < 300 || third < 500 {
		t.Error("too few")
	}
	mustClose(t, l)
	l = mustOpen(t, o)
	g.check(t, l)
	mustClose(t, l)

	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatalf("remount read-only: %v", err)
	}
	_, err := wal.Open(t.Context(), o)
	wantError(t, err, wal.ErrReadOnly)
	if report, err := wal.Inspect(t.Context(), nil, o.Dir); err != nil || report.Last != g.highest {
		t.Errorf("a read-only log is still read: last %d of %d, %v", report.Last, g.highest, err)
	}
}
