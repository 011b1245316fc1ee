package main

import (
	"context"
	"os"
)

// redisBars compares chains on a private Redis with one round trip for each node,
// on the same keys, in turn, in one process. Without redis-server there is
// nothing to measure, and it says so.
func redisBars(ctx context.Context, s settings) ([]row, error) {
	// The benchmark starts its server through internal/testenv, which wants to be
	// told.
	if err := os.Setenv("BB_TEST_ENGINES", "1"); err != nil {
		return nil, err
	}
	var rows []row
	for _, c := range []struct{ name, what string }{
		{"line_up", "Redis: causes of a line of 1,000, of a round trip per node"},
		{"line_down", "Redis: effects of a line of 1,000, of a round trip per node"},
		{"tree_down", "Redis: a tree of 1,023, of a round trip per node"},
	} {
		m, err := benchmark(ctx, s, "./correlation/redis", "BenchmarkChain/"+c.name+"$", "300x")
		if err != nil {
			return rows, err
		}
		rows = append(rows, row{what: c.what, got: m["x_faster"], unit: "times", least: 5})
	}
	return rows, nil
}
