package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/33god/bloodbank/bench/gateway"
)

// gatewaySessions is how many speak at once, in real time.
const gatewaySessions = 500

func voiceBars(ctx context.Context, s settings) ([]row, error) {
	rows, err := recogniserBars(ctx, s)
	if err != nil {
		return rows, err
	}
	more, err := gatewayBars(ctx, s)
	return append(rows, more...), err
}

// recogniserBars are those of PocketSphinx. The clips lie beside the repository.
func recogniserBars(ctx context.Context, s settings) ([]row, error) {
	right, err := benchmark(ctx, s, "./voice/pocketsphinx", "BenchmarkAccuracy$", "1x")
	if err != nil {
		return nil, err
	}
	live, err := benchmark(ctx, s, "./voice/pocketsphinx", "BenchmarkRealTime$", "1x")
	if err != nil {
		return nil, err
	}
	return []row{
		{what: "words wrong of real clips, contractions as their long form", got: right["wer-%"], unit: "%", most: 25},
		{what: "five sentences by two voices: wrong", got: right["sentences-wrong"], most: 0.5},
		{what: "a session, with loading the model", got: live["cores"], unit: "cores", most: 0.5},
		{what: "first text of an utterance, worst of 15", got: live["first-text-ms"], unit: "ms", most: 1500},
		{what: "final after the decided end less 0.35 of its length, worst", got: live["late-ms"], unit: "ms", most: 300},
	}, nil
}

// gatewayBars is bb in front of a WhisperLiveKit server. That server and all clients
// are this process: three parties share the machine.
func gatewayBars(ctx context.Context, s settings) (_ []row, err error) {
	dir, err := os.MkdirTemp("", "bars-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var bb *server
	var busy float64
	load, err := gateway.New(gateway.Options{Sessions: gatewaySessions, Spoken: 30 * time.Second, Warm: 5 * time.Second, Sample: func() error {
		busy, err = held(ctx, bb.url)
		return err
	}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, load.Close()) }()
	bb, _, err = startServer(ctx, filepath.Join(s.root, "bin", "bb"), dir, "BB_VOICE_RECOGNISER=whisperlive",
		"BB_VOICE_UPSTREAM="+load.Upstream(), fmt.Sprint("BB_VOICE_MAX_SESSIONS=", gatewaySessions))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bb.stop()) }()
	idle, err := held(ctx, bb.url)
	if err != nil {
		return nil, err
	}
	direct, err := load.Direct(ctx)
	if err != nil {
		return nil, err
	}
	f, err := load.Run(ctx, bb.url)
	if err != nil {
		return nil, err
	}
	fmt.Printf("  without bb, %d states: median %s, p99 %s\n", direct.Words, direct.P50.Round(10*time.Microsecond), direct.P99.Round(10*time.Microsecond))
	return []row{
		{what: fmt.Sprintf("gateway, %d sessions: added to %d states, median", gatewaySessions, f.Words), got: (f.P50 - direct.P50).Seconds() * 1000, unit: "ms", most: 20},
		{what: "the same, p99", got: (f.P99 - direct.P99).Seconds() * 1000, unit: "ms", most: 100},
		{what: "gateway, memory of a session", got: (busy - idle) / 1024 / gatewaySessions, unit: "KiB", most: 150},
		{what: "gateway, words that no client saw", got: float64(f.Missing), most: 0.5},
	}, nil
}

// held is what a server holds in bytes: its heap after the last collection, and stacks.
func held(ctx context.Context, url string) (float64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	sum, found := 0.0, 0
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if name != "go_gc_heap_live_bytes" && name != "go_memstats_stack_inuse_bytes" {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, err
		}
		sum, found = sum+n, found+1
	}
	if found != 2 {
		return 0, errors.New("/metrics does not tell the memory")
	}
	return sum, lines.Err()
}
