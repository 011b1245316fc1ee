package app

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/config"
	"github.com/33god/bloodbank/dispatch"
	"github.com/33god/bloodbank/wal"
)

// The folders below the data folder.
const (
	walDir     = "wal"
	deadDir    = "deadletters"
	journalDir = "dispatch"
	busDir     = "bus"
)

// rememberRecords is how many of the newest records the gateway reads at start
// to recognise their duplicates.
const rememberRecords = 1 << 17

func (a *App) openLog(ctx context.Context) (err error) {
	if a.wal, err = OpenLog(ctx, a.cfg, "bb up", a); err != nil {
		return err
	}
	if err := errors.Join(a.openDead(ctx), a.openJournal(ctx)); err != nil {
		return errors.Join(explainLog(a.cfg, err), a.closeLog(ctx))
	}
	return nil
}

// openDead opens the dead letters: few and small, so a log of the same kind with
// small files.
func (a *App) openDead(ctx context.Context) (err error) {
	a.deadLog, err = wal.Open(ctx, wal.Options{
		Dir: filepath.Join(a.cfg.DataDir, deadDir), SegmentSize: 1<<20 + 2*int64(a.cfg.Limits.Event), Owner: "bb up", Logger: a.log,
	})
	if err == nil {
		a.dead, err = dispatch.OpenDeadLetters(ctx, a.deadLog)
	}
	return err
}

// openJournal opens what the dispatchers remember beside their positions.
func (a *App) openJournal(ctx context.Context) (err error) {
	a.journalLog, err = wal.Open(ctx, wal.Options{
		Dir: filepath.Join(a.cfg.DataDir, journalDir), SegmentSize: 1 << 20, Owner: "bb up", Logger: a.log,
	})
	if err != nil {
		return err
	}
	journal, err := dispatch.OpenJournal(ctx, a.journalLog)
	if err != nil {
		return err
	}
	a.retention, err = dispatch.NewRetention(a.wal, journal)
	return err
}

func (a *App) closeLog(context.Context) error {
	var faults []error
	for _, l := range []*wal.Log{a.journalLog, a.deadLog, a.wal} {
		if l != nil {
			faults = append(faults, l.Close())
		}
	}
	return errors.Join(faults...)
}

// OpenLog opens the write-ahead log of a configuration as its one owner.
func OpenLog(ctx context.Context, cfg config.Config, owner string, a *App) (*wal.Log, error) {
	o := wal.Options{
		Dir: filepath.Join(cfg.DataDir, walDir), SegmentSize: int64(cfg.WAL.SegmentSize), Owner: owner,
		RetainBytes: int64(cfg.WAL.RetainSize), RetainAge: cfg.WAL.RetainAge,
	}
	if a != nil {
		o.Logger = a.log
	}
	l, err := wal.Open(ctx, o)
	if err != nil {
		return nil, explainLog(cfg, err)
	}
	return l, nil
}

func explainLog(cfg config.Config, err error) error {
	switch {
	case errors.Is(err, wal.ErrLocked):
		return bloodbank.Errorf(bloodbank.CodeConflict,
			"%w. One server owns a data folder: stop that one, or choose another folder with --data (now %s)", err, cfg.DataDir)
	case errors.Is(err, wal.ErrReadOnly):
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "%w. Make the data folder writable, or choose another with --data (now %s)", err, cfg.DataDir)
	case errors.Is(err, wal.ErrFull):
		return bloodbank.Errorf(bloodbank.CodeStorageFull, "%w. Make room, or choose another data folder with --data (now %s)", err, cfg.DataDir)
	}
	return bloodbank.Errorf(bloodbank.CodeUnavailable, "cannot open the data folder %s: %w", cfg.DataDir, err)
}

// remember shows the gateway the newest records of the log.
func (a *App) remember(ctx context.Context) error {
	first, last := a.wal.First(), a.wal.Last()
	if last == 0 {
		return nil
	}
	if last > rememberRecords {
		first = max(first, last-rememberRecords)
	}
	r, err := a.wal.NewReader(max(first, 1))
	if err != nil {
		return explainLog(a.cfg, err)
	}
	defer r.Close()
	for ctx.Err() == nil {
		record, ok, err := r.TryNext()
		if err != nil {
			return explainLog(a.cfg, err)
		}
		if !ok {
			return nil
		}
		a.gateway.Remember(record.Seq, record.Data)
	}
	return context.Cause(ctx)
}
