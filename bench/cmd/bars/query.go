package main

import (
	"context"
	"os"
	"strconv"
)

// queryBars asks a large SQLite store everything that the web page and the command
// line ask; -events says how large.
func queryBars(ctx context.Context, s settings) ([]row, error) {
	if err := os.Setenv("BB_BENCH_EVENTS", strconv.Itoa(s.events)); err != nil {
		return nil, err
	}
	m, err := benchmark(ctx, s, "./store/sqlite", "BenchmarkLarge$", "1x")
	if err != nil {
		return nil, err
	}
	return []row{
		{what: "first page by any indexed filter, p95 of the slowest", got: m["indexed-ms"], unit: "ms", most: 100},
		{what: "graph of a trace of 1,000 events, p95", got: m["trace-ms"], unit: "ms", most: 100},
		{what: "first page of a search for words, p95 of the slowest", got: m["text-ms"], unit: "ms", most: 1000},
		{what: "list of voice sessions, p95", got: m["sessions-ms"], unit: "ms", most: 100},
		{what: "facets, p95 of the slowest", got: m["facets-ms"], unit: "ms", most: 2000},
		{what: "histogram, p95 of the slowest", got: m["histogram-ms"], unit: "ms", most: 2000},
		{what: "file of the store, times the JSON in it", got: m["file/json"], most: 2.5},
	}, nil
}
