package app

import (
	"context"
	"iter"
	"path/filepath"

	"github.com/33god/bloodbank/config"
	"github.com/33god/bloodbank/wal"
)

// LogDir is the folder of a configuration's log.
func LogDir(cfg config.Config) string { return filepath.Join(cfg.DataDir, walDir) }

// InspectLog reads the log's folder without owning it and changes nothing.
func InspectLog(ctx context.Context, dir string) (wal.Report, error) {
	return wal.Inspect(ctx, nil, dir)
}

// ScanLog yields the log's records without owning it.
func ScanLog(ctx context.Context, dir string, from uint64) iter.Seq2[wal.Record, error] {
	return wal.Scan(ctx, nil, dir, from)
}
