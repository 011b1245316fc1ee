// Command bars measures the product against its bars and prints a table. It
// runs the benchmarks of the repository and the built binary; figures are
// compared only inside one run. It exits with 1 when a bar is missed.
//
// Run it from the repository with: make bench
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// row is one measured figure and what it must reach.
type row struct {
	what  string
	got   float64
	unit  string
	least float64 // 0: no lower bar
	most  float64 // 0: no upper bar
}

func (r row) ok() bool {
	return (r.least == 0 || r.got >= r.least) && (r.most == 0 || r.got <= r.most)
}

func (r row) String() string {
	bar, verdict := fmt.Sprintf(">= %g", r.least), "ok"
	if r.most != 0 {
		bar = fmt.Sprintf("<= %g", r.most)
	}
	if !r.ok() {
		verdict = "MISSED"
	}
	return fmt.Sprintf("%-58s %10.4g %-9s %-10s %s", r.what, r.got, r.unit, bar, verdict)
}

type settings struct {
	root   string // the repository
	only   string // part of a section's name
	events int    // how many go through the memory test, and lie in the store of the query test
}

// section measures some rows.
type section struct {
	name    string
	measure func(context.Context, settings) ([]row, error)
}

func sections() []section {
	return []section{
		{"log", logBars},
		{"http", httpBars},
		{"bus", busBars},
		{"rabbit", rabbitBars},
		{"redis", redisBars},
		{"postgres", postgresBars},
		{"query", queryBars},
		{"pipeline", pipelineBars},
		{"latency", latencyBars},
		{"voice", voiceBars},
		{"memory", memoryBars},
		{"process", processBars},
	}
}

func main() {
	var s settings
	flag.StringVar(&s.root, "root", "..", "the repository, with bin/bb built")
	flag.StringVar(&s.only, "only", "", "only sections whose name has this in it: log, http, bus, rabbit, redis, postgres, query, pipeline, latency, voice, memory, process")
	flag.IntVar(&s.events, "events", 1_000_000, "events in the memory test, and in the store of the query test")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, s)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bars:", err)
		os.Exit(1)
	}
}

// settle has the kernel write what is waiting, and gives the disk a moment.
func settle() {
	syscall.Sync()
	time.Sleep(time.Second)
}

var errMissed = errors.New("a bar was missed")

func run(ctx context.Context, s settings) error {
	root, err := filepath.Abs(s.root)
	if err != nil {
		return err
	}
	s.root = root
	missed := false
	for _, section := range sections() {
		if !strings.Contains(section.name, s.only) {
			continue
		}
		fmt.Printf("\n%s\n", section.name)
		rows, err := section.measure(ctx, s)
		for _, r := range rows {
			fmt.Println(" ", r)
			missed = missed || !r.ok()
		}
		if errors.Is(err, errMissed) {
			missed = true
		} else if err != nil {
			return fmt.Errorf("%s: %w", section.name, err)
		}
	}
	if missed {
		return errMissed
	}
	return nil
}

// logBars has a program of its own, which prints its own table.
func logBars(ctx context.Context, s settings) ([]row, error) {
	cmd := exec.CommandContext(ctx, "go", "run", "./cmd/walbench")
	cmd.Dir = filepath.Join(s.root, "bench")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 1 {
			return nil, errMissed
		}
		return nil, err
	}
	return nil, nil
}

func httpBars(ctx context.Context, s settings) ([]row, error) {
	m, err := benchmark(ctx, s, "./httpapi", "BenchmarkRatios$", "1x")
	if err != nil {
		return nil, err
	}
	return []row{
		{what: "durable POST /events, 64 connections, of a no-op handler", got: m["durable:noop"], least: 0.5},
		{what: "the same with validation, of that without", got: m["validated:durable"], least: 0.5},
		{what: "arrays of 100, times single posts, per event", got: m["array:validated"], least: 6},
	}, nil
}

func busBars(ctx context.Context, s settings) ([]row, error) {
	m, err := benchmark(ctx, s, "./bus/jetstream", "BenchmarkPublish$", "2s")
	if err != nil {
		return nil, err
	}
	return []row{{what: "embedded JetStream, of a bare asynchronous publisher", got: m["bus÷bare"], least: 0.8}}, nil
}

func pipelineBars(ctx context.Context, s settings) ([]row, error) {
	ours, err := benchmark(ctx, s, "./app", "BenchmarkPipeline$", "200000x")
	if err != nil {
		return nil, err
	}
	naive, err := benchmark(ctx, s, "./app", "BenchmarkPipelineNaive$", "10000x")
	if err != nil {
		return nil, err
	}
	return []row{
		{what: "accept to stored", got: ours["stored/s"], unit: "events/s", least: 15_000},
		{what: "times syncing each message, one transaction an event", got: ours["stored/s"] / naive["stored/s"], least: 4},
	}, nil
}

func latencyBars(ctx context.Context, s settings) ([]row, error) {
	m, err := benchmark(ctx, s, "./app", "BenchmarkLatency$", "5000x")
	if err != nil {
		return nil, err
	}
	return []row{{what: "accept to stored at 500 events/s, p99", got: m["p99-ms"], unit: "ms", most: 10}}, nil
}

func memoryBars(ctx context.Context, s settings) ([]row, error) {
	m, err := benchmark(ctx, s, "./app", "BenchmarkMemory$", strconv.Itoa(s.events)+"x")
	if err != nil {
		return nil, err
	}
	return []row{{
		what: fmt.Sprintf("heap after %d events, of that after half (%.0f MiB)", s.events, m["half-MiB"]),
		got:  m["end-MiB"] / m["half-MiB"], most: 1.2,
	}}, nil
}

// benchmark runs one benchmark and returns its metrics by unit. The test is built
// first and the disk left to settle, so that what the build wrote is not measured.
func benchmark(ctx context.Context, s settings, pkg, name, length string) (map[string]float64, error) {
	dir, err := os.MkdirTemp("", "bars-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // a temporary folder that stays is no reason to fail
	binary := filepath.Join(dir, "bench.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, pkg)
	build.Dir = s.root
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", build, err, out)
	}
	settle()
	cmd := exec.CommandContext(ctx, binary, "-test.run", "^$", "-test.bench", name, "-test.benchtime", length, "-test.timeout", "30m")
	cmd.Dir = filepath.Join(s.root, pkg)
	cmd.Env = append(os.Environ(), "GOGC=400") // as bb up has it
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	metrics := make(map[string]float64)
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%s: cannot read %q", cmd, lines.Text())
			}
			metrics[fields[i+1]] = value
		}
	}
	if len(metrics) == 0 {
		return nil, fmt.Errorf("%s printed no figures:\n%s", cmd, out)
	}
	return metrics, nil
}
