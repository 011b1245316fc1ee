package wal

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/33god/bloodbank/wal/segment"
	"github.com/33god/bloodbank/wal/vfs"
)

// keeper is the one background goroutine of a log: it fills the next segments ahead, cuts the tails of sealed ones,
// archives and recycles drained ones and writes cursors. Nothing it does is needed for an append to be durable, so its
// errors only slow the log down and are shown in Status.
type keeper struct {
	l      *Log
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	poke   chan struct{}
	ask    chan chan struct{}

	mu     sync.Mutex // held while a name is given, so that numbers rise in the order of use
	nextID uint64
	spares []*activeSegment
	used   bool  // a spare was taken: this log is written so much that it shall have two
	jobs   []job // at most one seal and one drop for each segment

	recycle string // path of a drained file that can be filled again; owned by the goroutine
}

// job is a segment to seal or to drop.
type job struct {
	seal  *activeSegment
	fault bool
	drop  *segmentRef
	// archived is set when a drop is tried again after its archive was made.
	archived bool
}

const (
	flushEvery = 250 * time.Millisecond // a cursor that moved is on disk after this time
	retryEvery = 5 * time.Second        // after something failed
	recycleTmp = "recycle.tmp"
	spareTmp   = "spare.tmp"
)

func newKeeper(ctx context.Context, l *Log, nextID uint64, spares []*activeSegment) *keeper {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	k := &keeper{l: l, ctx: ctx, cancel: cancel, nextID: nextID, spares: spares,
		poke: make(chan struct{}, 1), ask: make(chan chan struct{})}
	return k
}

func (k *keeper) start() {
	k.wg.Go(k.run)
	k.nudge()
}

// stop ends the goroutine. Work that was not done is done by the next Open or Truncate.
func (k *keeper) stop() {
	k.cancel()
	k.wg.Wait()
	for _, spare := range k.spares {
		k.l.note("close a spare segment", spare.file.Close())
	}
	for _, j := range k.jobs {
		if j.seal != nil {
			k.l.note("close a sealed segment", j.seal.file.Close())
		}
	}
}

func (k *keeper) add(j job) {
	k.mu.Lock()
	k.jobs = append(k.jobs, j)
	k.mu.Unlock()
	k.nudge()
}

func (k *keeper) nudge() {
	select {
	case k.poke <- struct{}{}:
	default:
	}
}

func (k *keeper) run() {
	flush := time.NewTicker(flushEvery)
	defer flush.Stop()
	var failed time.Time
	commits := uint64(0)
	for {
		var answer chan struct{}
		quiet := false
		select {
		case <-k.ctx.Done():
			return
		case <-k.poke:
		case answer = <-k.ask:
			quiet = true
		case <-flush.C:
			k.l.note("write cursors", k.l.saveCursors())
			now := k.l.commitCount()
			quiet, commits = now == commits, now
			if !failed.IsZero() && time.Since(failed) < retryEvery {
				continue
			}
		}
		failed = time.Time{}
		if !k.work(quiet) {
			failed = time.Now()
		}
		if answer != nil {
			close(answer)
		}
	}
}

// work does all jobs there are, then makes spares; false says that something has to be tried again later.
func (k *keeper) work(quiet bool) bool {
	ok := k.doJobs()
	for k.ctx.Err() == nil && k.wantsSpare(quiet) {
		if err := k.makeSpare(); err != nil {
			if k.ctx.Err() == nil {
				k.l.note("prepare the next segment", classify(err))
			}
			return false
		}
	}
	return ok
}

// wantsSpare says whether to fill one more segment now. One is made at once; the second waits for a quiet moment, since
// filling takes as much of the disk as writing does.
func (k *keeper) wantsSpare(quiet bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.spares) == 0 || (len(k.spares) == 1 && k.used && quiet)
}

// doJobs stops at a segment that cannot be dropped: if a later one went before it, the log would have a hole when it
// is opened again.
func (k *keeper) doJobs() bool {
	for k.ctx.Err() == nil {
		j, ok := k.pop()
		if !ok {
			return true
		}
		if j.seal != nil {
			k.l.note("seal a segment", k.sealFile(j.seal, j.fault))
			continue
		}
		if k.l.opt.archives() && !j.archived {
			// Without an archive the segment still goes: its records are where they should be, and the disk may need the space.
			k.l.note("archive a drained segment", k.l.archive(k.ctx, j.drop))
			j.archived = true
		}
		if k.ctx.Err() != nil {
			return true // closing; the next Truncate begins again
		}
		if err := k.dropFile(j.drop); err != nil {
			k.l.note("drop a drained segment", err)
			k.mu.Lock()
			k.jobs = append([]job{j}, k.jobs...)
			k.mu.Unlock()
			return false
		}
	}
	return true
}

func (k *keeper) pop() (job, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.jobs) == 0 {
		return job{}, false
	}
	j := k.jobs[0]
	k.jobs = k.jobs[1:]
	return j, true
}

// sealFile cuts the tail off, so that a sealed segment holds nothing but its records. One without records is removed.
func (k *keeper) sealFile(a *activeSegment, fault bool) error {
	if a.ref == nil {
		return errors.Join(a.file.Close(), k.remove(a.path))
	}
	err := a.file.Truncate(a.off)
	if err == nil && !fault {
		err = a.file.Sync()
	}
	return errors.Join(err, a.file.Close())
}

func (k *keeper) dropFile(ref *segmentRef) error {
	k.l.mu.Lock()
	reusable := ref.readers == 0 && !ref.faulty && k.recycle == ""
	k.l.mu.Unlock()
	if !reusable {
		return k.remove(ref.path)
	}
	// The name goes first, and durably: a file must never be found under its old name with new content.
	tmp := filepath.Join(k.l.opt.Dir, recycleTmp)
	err := k.l.fs.Rename(ref.path, tmp)
	if errors.Is(err, fs.ErrNotExist) {
		return k.l.fs.SyncDir(k.l.opt.Dir) // an earlier try got as far as this
	}
	if err == nil {
		err = k.l.fs.SyncDir(k.l.opt.Dir)
	}
	if err == nil {
		k.recycle = tmp
	}
	return err
}

// remove is durable before it returns, so that segments never vanish out of order.
func (k *keeper) remove(path string) error {
	if err := k.l.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return k.l.fs.SyncDir(k.l.opt.Dir)
}

func (k *keeper) hasSpare() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.spares) > 0
}

// next returns the segment to write from now on: a filled one if there is, else one that is not filled, slower to write
// but there at once. Both in one step: a spare named in between would have a lower number than the segment written
// before it. It has another spare made.
func (k *keeper) next() (*activeSegment, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	defer k.nudge()
	if len(k.spares) > 0 {
		spare := k.spares[0]
		k.spares, k.used = k.spares[1:], true
		return spare, nil
	}
	path := filepath.Join(k.l.opt.Dir, segment.Name(k.nextID))
	f, err := k.l.fs.Open(path, vfs.Create)
	if err != nil {
		return nil, err
	}
	if err := k.l.fs.SyncDir(k.l.opt.Dir); err != nil {
		return nil, errors.Join(err, f.Close(), k.l.fs.Remove(path))
	}
	a := &activeSegment{id: k.nextID, path: path, file: f}
	k.nextID++
	return a, nil
}

// makeSpare fills a file with newlines under a name that recovery ignores, then gives it a number.
func (k *keeper) makeSpare() error {
	tmp, mode := k.recycle, vfs.ReadWrite
	if tmp == "" {
		tmp, mode = filepath.Join(k.l.opt.Dir, spareTmp), vfs.Create
	}
	k.recycle = ""
	f, err := k.l.fs.Open(tmp, mode)
	if err != nil {
		return err
	}
	size := k.l.opt.SegmentSize
	err = k.fill(f, size)
	if err == nil && mode == vfs.ReadWrite {
		err = f.Truncate(size)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = k.nameSpare(f, tmp)
	}
	if err != nil {
		return errors.Join(err, f.Close(), k.remove(tmp))
	}
	return nil
}

func (k *keeper) nameSpare(f vfs.File, tmp string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	path := filepath.Join(k.l.opt.Dir, segment.Name(k.nextID))
	if err := k.l.fs.Rename(tmp, path); err != nil {
		return err
	}
	k.nextID++ // used up even if the name is not durable
	if err := k.l.fs.SyncDir(k.l.opt.Dir); err != nil {
		return errors.Join(err, k.l.fs.Remove(path))
	}
	k.spares = append(k.spares, &activeSegment{id: k.nextID - 1, path: path, file: f, filled: true})
	return nil
}

// Settle waits until the background work that is due now is done: the next segment made ready, drained ones archived
// and dropped. Tools and tests need it; nothing else does.
func (l *Log) Settle(ctx context.Context) error {
	answer := make(chan struct{})
	select {
	case l.keep.ask <- answer:
	case <-l.keep.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-answer:
		return nil
	case <-l.keep.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}
