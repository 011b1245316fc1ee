package torture

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Disk is what was found out about the disk under the log.
type Disk struct {
	// P50 and P99 are how long an fdatasync of 4 KiB takes, in microseconds.
	P50 int64 `json:"fsync_p50_us"`
	P99 int64 `json:"fsync_p99_us"`
	// Free is the space left in bytes.
	Free uint64 `json:"free_bytes"`
	// Memory says that the files are only in memory.
	Memory bool `json:"memory"`
	// Suspect says that no disk can be that fast, see Words.
	Suspect bool `json:"suspect"`
	// Same says that the user's own data folder is on the same file system; it is
	// true where none was named.
	Same bool `json:"same_file_system"`
	// Words say what the figures mean, each a sentence.
	Words []string `json:"words"`
	// Error is why the disk could not be examined.
	Error string `json:"error,omitempty"`
}

const (
	// impossible is faster than any disk that waits for its medium, flash or not:
	// such an fsync has written to a cache. fast is what only few disks reach.
	impossible = 30 * time.Microsecond
	fast       = 150 * time.Microsecond
	lowSpace   = 1 << 30
)

// examineDisk measures the disk under dir, which must exist, and compares it with
// that under beside ("" compares nothing). What cannot be found out is said in
// the result.
func examineDisk(dir, beside string, fsyncs int) Disk {
	d := Disk{Same: true}
	took, err := measureFsync(dir, fsyncs)
	if err == nil {
		slices.Sort(took)
		d.P50, d.P99 = took[len(took)/2].Microseconds(), took[len(took)*99/100].Microseconds()
		err = d.look(dir, beside)
	}
	if err != nil {
		d.Error = err.Error()
		return d
	}
	d.judge(took[len(took)/2])
	return d
}

func measureFsync(dir string, times int) (took []time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".fsync-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, 4096)
	for i := range times {
		block[0] = byte(i)
		if _, err := f.WriteAt(block, int64(i%16)*4096); err != nil {
			return nil, err
		}
		began := time.Now()
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return nil, fmt.Errorf("fdatasync: %w", err)
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}

func (d *Disk) look(dir, beside string) error {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return fmt.Errorf("statfs: %w", err)
	}
	d.Free = s.Bavail * uint64(s.Bsize)
	const tmpfs, ramfs = 0x01021994, 0x858458f6
	d.Memory = uint32(s.Type) == tmpfs || uint32(s.Type) == ramfs
	if beside == "" {
		return nil
	}
	var here, there unix.Stat_t
	err := unix.Stat(dir, &here)
	if err == nil && unix.Stat(beside, &there) == nil { // one that is not there yet compares with nothing
		d.Same = here.Dev == there.Dev
	}
	return err
}

func (d *Disk) judge(median time.Duration) {
	say := func(format string, args ...any) { d.Words = append(d.Words, fmt.Sprintf(format, args...)) }
	switch {
	case d.Memory:
		say("This file system is in memory: a power cut loses everything, whatever was synced. Choose a folder on a disk.")
	case median < impossible:
		d.Suspect = true
		say("No disk writes through in %s. Something below answers before the data is safe: a virtual machine whose host caches, a controller, or a mount without barriers. "+
			"Killing the program cannot show it, a power cut would: unless that cache has a battery, what was accepted last can be lost.", median.Round(time.Microsecond))
	case median < fast:
		say("Each fsync takes %s, which only disks with a protected cache reach. If yours has none, or this is a virtual machine, ask whether its host passes flushes on.", median.Round(time.Microsecond))
	default:
		say("Each fsync takes %s, as of a disk that writes through.", median.Round(time.Microsecond))
	}
	if d.Free < lowSpace {
		say("Only %d MiB are left; events are refused when the disk is full.", d.Free>>20)
	}
	if !d.Same {
		say("Your data folder is on another file system than the one examined here; name a folder beside it with --dir.")
	}
}

func (d Disk) lines() []string {
	if d.Error != "" {
		return []string{"could not be examined: " + d.Error}
	}
	figures := fmt.Sprintf("fsync p50 %d µs, p99 %d µs; %.1f GiB free", d.P50, d.P99, float64(d.Free)/(1<<30))
	return append([]string{figures}, d.Words...)
}
