// Command walbench measures durable append against a raw committer (one write and one fdatasync for each batch on a
// file filled beforehand) and against the logs of etcd and raft-wal behind a leader/follower front like ours. All
// cells of one line are measured in turn, in random order, and compared only inside one round; the table shows medians
// of those ratios. It exits with 1 when a bar is missed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"time"
)

// bar is what a line must reach.
type bar struct {
	appenders int
	raw       float64 // of the raw committer; 0 = not asked
	peers     float64 // times the better peer
	slow      float64 // of appenders / delay with a delayed fdatasync
}

func bars() []bar {
	return []bar{{1, 0.85, 0, 0}, {8, 0.75, 1.8, 0}, {64, 0.50, 1.8, 0.70}, {256, 0.40, 1.8, 0.60}}
}

type settings struct {
	dir       string
	sample    time.Duration
	megabytes int64
	rounds    int
	delay     time.Duration
	noise     float64
	patience  time.Duration
	only      int
	simulate  time.Duration
	out       io.Writer
}

func main() {
	s := settings{out: os.Stdout}
	flag.StringVar(&s.dir, "dir", "", "folder on the disk to measure; empty: the system's folder for temporary files")
	flag.DurationVar(&s.sample, "sample", 120*time.Millisecond, "length of a sample")
	flag.Int64Var(&s.megabytes, "megabytes", 32, "most that is written in a sample")
	flag.IntVar(&s.rounds, "rounds", 15, "samples of each cell")
	flag.DurationVar(&s.delay, "delay", time.Millisecond, "least time of fdatasync in the slow cells")
	flag.Float64Var(&s.noise, "noise", 0.3, "repeat a sample when other programs used more cores than this")
	flag.DurationVar(&s.patience, "patience", 30*time.Second, "time spent on repeating and waiting for each number of appenders")
	flag.IntVar(&s.only, "only", 0, "only this number of appenders")
	flag.DurationVar(&s.simulate, "simulate", 0, "delay for raw and ours too, no peers: to tune on a folder in memory, free of the disk's moods")
	flag.Parse()
	if err := fineTimers(); err != nil {
		fmt.Fprintln(os.Stderr, "walbench: delays will be longer than asked for:", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "\nwalbench:", err)
		os.Exit(1)
	}
}

var errMissed = errors.New("a bar was missed")

func run(ctx context.Context, s settings) error {
	fmt.Fprintf(s.out, "1 KiB records, medians of %d samples of at most %v and %d MiB each, ratios inside one round\n\n", s.rounds, s.sample, s.megabytes)
	fmt.Fprintf(s.out, "%9s  %-18s %12s %12s %8s %8s %6s\n", "appenders", "compared with", "rec/s", "ours", "ratio", "bar", "")
	missed := false
	for _, b := range bars() {
		if s.only != 0 && s.only != b.appenders {
			continue
		}
		ok, err := line(ctx, s, b)
		if err != nil {
			return err
		}
		missed = missed || !ok
	}
	if missed {
		return errMissed
	}
	return nil
}

// line measures one number of appenders and prints its comparisons.
func line(ctx context.Context, s settings, b bar) (ok bool, err error) {
	names := []string{"raw", "ours"}
	if s.simulate > 0 {
		b.peers = 0
	}
	if b.peers > 0 {
		names = append(names, "etcd", "raft-wal")
	}
	if b.slow > 0 {
		names = append(names, "slow")
	}
	rates, err := measure(ctx, s, names, b.appenders)
	if err != nil {
		return false, err
	}
	ok = compare(s.out, b.appenders, "raw committer", rates["raw"], rates["ours"], b.raw)
	if b.peers > 0 {
		better := "etcd"
		if median(rates["raft-wal"]) > median(rates["etcd"]) {
			better = "raft-wal"
		}
		ok = compare(s.out, b.appenders, better+" (better peer)", rates[better], rates["ours"], b.peers) && ok
	}
	if b.slow > 0 {
		ideal := slices.Repeat([]float64{float64(b.appenders) / s.delay.Seconds()}, s.rounds)
		ok = compare(s.out, b.appenders, fmt.Sprintf("N/%v, slow fsync", s.delay), ideal, rates["slow"], b.slow) && ok
	}
	return ok, nil
}

// measure takes the samples: all cells stay open, and each round has each of them once.
func measure(ctx context.Context, s settings, names []string, appenders int) (rates map[string][]float64, err error) {
	dir, err := os.MkdirTemp(s.dir, "walbench")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cells := map[string]cell{}
	defer func() {
		for _, c := range cells {
			err = errors.Join(err, c.close())
		}
	}()
	for _, name := range names {
		if cells[name], err = openCell(ctx, name, dir, s); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	rates = map[string][]float64{}
	left := patience{s.patience}
	for range s.rounds {
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for _, name := range names {
			rate, err := quietSample(ctx, s, &left, cells[name], appenders)
			if err != nil {
				return nil, fmt.Errorf("%s with %d appenders: %w", name, appenders, err)
			}
			rates[name] = append(rates[name], rate)
		}
	}
	return rates, nil
}

func compare(out io.Writer, appenders int, with string, other, ours []float64, bar float64) bool {
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = ours[i] / other[i]
	}
	ratio := median(ratios)
	verdict := "ok"
	if ratio < bar {
		verdict = "MISSED"
	}
	fmt.Fprintf(out, "%9d  %-18s %12.0f %12.0f %8.2f %8.2f %6s   %.2f..%.2f\n", appenders, with, median(other), median(ours), ratio, bar, verdict,
		slices.Min(ratios), slices.Max(ratios))
	return ratio >= bar
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
