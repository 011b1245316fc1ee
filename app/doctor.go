package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/33god/bloodbank/config"
)

// Verdict is the outcome of a check.
type Verdict string

// The verdicts.
const (
	Pass Verdict = "PASS"
	Warn Verdict = "WARN"
	Fail Verdict = "FAIL"
)

// Finding is what a check found, and what to do about it.
type Finding struct {
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	Message string  `json:"message"`
}

// Doctor examines this machine for a configuration. It needs no server and
// changes nothing but a temporary file in the data folder.
func Doctor(ctx context.Context, cfg config.Config) []Finding {
	findings := []Finding{
		checkDataDir(cfg),
		checkSpace(cfg),
		checkFsync(cfg),
		checkLogFiles(ctx, cfg),
		checkSchemas(ctx, cfg),
		checkRecogniser(ctx, cfg),
	}
	return append(findings, checkEngines(ctx, cfg)...)
}

func pass(check, format string, args ...any) Finding {
	return Finding{check, Pass, fmt.Sprintf(format, args...)}
}

func warn(check, format string, args ...any) Finding {
	return Finding{check, Warn, fmt.Sprintf(format, args...)}
}

func fail(check, format string, args ...any) Finding {
	return Finding{check, Fail, fmt.Sprintf(format, args...)}
}

func checkDataDir(cfg config.Config) Finding {
	const name = "data folder"
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fail(name, "%v. Choose another with --data or BB_DATA_DIR", err)
	}
	f, err := os.CreateTemp(cfg.DataDir, ".doctor-*")
	if err != nil {
		return fail(name, "%v. Make it writable, or choose another with --data or BB_DATA_DIR", err)
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return fail(name, "%v", err)
	}
	return pass(name, "%s can be written", cfg.DataDir)
}

// lowSpace is below what a day of busy use may take.
const lowSpace = 1 << 30

func checkSpace(cfg config.Config) Finding {
	const name = "disk space"
	var s unix.Statfs_t
	if err := unix.Statfs(cfg.DataDir, &s); err != nil {
		return fail(name, "cannot be told: %v", err)
	}
	free := s.Bavail * uint64(s.Bsize)
	if free < lowSpace {
		return warn(name, "%d MiB left; events are refused when it is full. Make room", free>>20)
	}
	return pass(name, "%.1f GiB free", float64(free)/(1<<30))
}

// slowFsync is where a single publisher begins to notice.
const slowFsync = 20 * time.Millisecond

func checkFsync(cfg config.Config) Finding {
	const name = "fsync"
	median, err := measureFsync(cfg.DataDir)
	if err != nil {
		return fail(name, "%v", err)
	}
	took := median.Round(10 * time.Microsecond)
	if median > slowFsync {
		return warn(name, "%s each; one publisher gets %d events/s. A faster disk helps", took, time.Second/median)
	}
	return pass(name, "%s each (median of %d)", took, fsyncRounds)
}

const fsyncRounds = 21

func measureFsync(dir string) (median time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	took := make([]time.Duration, fsyncRounds)
	block := make([]byte, 4096)
	for i := range took {
		if _, err := f.WriteAt(block, 0); err != nil {
			return 0, err
		}
		began := time.Now()
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return max(took[len(took)/2], 1), nil
}

func checkLogFiles(ctx context.Context, cfg config.Config) Finding {
	const name = "log"
	if _, err := os.Stat(LogDir(cfg)); errors.Is(err, fs.ErrNotExist) {
		return pass(name, "none yet; bb up makes it")
	}
	report, err := InspectLog(ctx, LogDir(cfg))
	switch {
	case err != nil:
		return fail(name, "%v", err)
	case len(report.Faults) > 0 || len(report.Quarantined) > 0:
		return warn(name, "%d fault(s), %d quarantined piece(s); see bb wal inspect", len(report.Faults), len(report.Quarantined))
	}
	return pass(name, "%d record(s) in %d segment(s), no faults", report.Records, len(report.Segments))
}

func checkSchemas(ctx context.Context, cfg config.Config) Finding {
	const name = "schemas"
	r, err := OpenSchemas(ctx, cfg)
	if err != nil {
		return fail(name, "%v", err)
	}
	return pass(name, "%d event types", len(r.Types()))
}

func checkRecogniser(ctx context.Context, cfg config.Config) Finding {
	const name = "voice"
	r, err := openRecogniser(cfg)
	if err != nil {
		return fail(name, "%v", err)
	}
	err = r.Check(ctx)
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return warn(name, "/asr is off, everything else works: %v", err)
	}
	return pass(name, "%s is ready", r.Name())
}
