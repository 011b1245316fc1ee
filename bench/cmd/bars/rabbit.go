package main

import (
	"context"
	"path/filepath"
)

// rabbitBars are measured on a RabbitMQ of their own, with quorum queues.
func rabbitBars(ctx context.Context, s settings) ([]row, error) {
	s.root = filepath.Join(s.root, "bench")
	publish, err := benchmark(ctx, s, "./rabbit", "BenchmarkPublish$", "5x")
	if err != nil {
		return nil, err
	}
	path, err := benchmark(ctx, s, "./rabbit", "BenchmarkPath$", "3x")
	if err != nil {
		return nil, err
	}
	return []row{
		{what: "dispatch to RabbitMQ, of a bare publisher with its window", got: publish["dispatch÷bare"], least: 0.9},
		{what: "the same, times Watermill's publisher", got: publish["dispatch÷watermill"], least: 5},
		{what: "the same, times 64 of Watermill's publishers", got: publish["dispatch÷pool"], least: 1.5},
		{what: "accept to stored, times a confirm and a transaction each", got: path["path÷naive"], least: 3.5},
	}, nil
}
