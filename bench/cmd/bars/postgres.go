package main

import (
	"context"
	"os"
)

// postgresBars starts a server of its own, which takes PostgreSQL's programs; the
// benchmark installs them where it may.
func postgresBars(ctx context.Context, s settings) ([]row, error) {
	if err := os.Setenv("BB_TEST_ENGINES", "1"); err != nil {
		return nil, err
	}
	m, err := benchmark(ctx, s, "./store/postgres", "BenchmarkRecorder$", "1x")
	if err != nil {
		return nil, err
	}
	return []row{
		{what: "recorder into PostgreSQL, bus to stored", got: m["stored/s"], unit: "events/s", least: 10_000},
		{what: "the same, of one caller who only inserts", got: m["stored÷alone"], least: 0.8},
	}, nil
}
