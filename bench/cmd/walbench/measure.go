package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// cell is one thing that is measured: it makes records durable.
type cell interface {
	// run makes records durable with n appenders until the time or the bytes are used up.
	run(ctx context.Context, n int, limit limits) (rate float64, err error)
	close() error
}

// limits end a sample. The bytes keep fast cells from emptying the disk's allowance for all that follow.
type limits struct {
	time  time.Duration
	bytes int64
}

const recordSize = 1024

func record() []byte {
	return append(append([]byte(`{"p":"`), bytes.Repeat([]byte("x"), recordSize-8)...), `"}`...)
}

// patience is the time that may still be spent on waiting for other programs to leave the processors alone.
type patience struct{ left time.Duration }

// quietSample repeats a sample while other programs use the processors and there is patience left.
func quietSample(ctx context.Context, s settings, p *patience, c cell, appenders int) (rate float64, err error) {
	for {
		before, own := busy(), ownCPU()
		begin := time.Now()
		rate, err = c.run(ctx, appenders, limits{time: s.sample, bytes: s.megabytes << 20})
		if err != nil {
			return 0, err
		}
		took := time.Since(begin)
		foreign := (busy() - before - (ownCPU() - own)).Seconds() / took.Seconds()
		if foreign < s.noise || p.left <= 0 {
			return rate, nil
		}
		p.left -= took
		p.waitForQuiet(ctx, s.noise)
	}
}

// waitForQuiet returns when the processors are idle enough, or patience is at its end.
func (p *patience) waitForQuiet(ctx context.Context, noise float64) {
	const look = 50 * time.Millisecond
	for p.left > 0 && ctx.Err() == nil {
		before := busy()
		wait(ctx, look)
		p.left -= look
		if (busy()-before).Seconds()/look.Seconds() < noise {
			return
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// drive has n appenders append as fast as they are answered. The first few rounds, while goroutines start, are not
// counted, nor are the last ones, while they end.
func drive(ctx context.Context, appendOne func(context.Context, []byte) error, n int, limit limits) (float64, error) {
	data := record()
	warm, most := int64(8*n), int64(8*n)+limit.bytes/recordSize
	var failed atomic.Pointer[error]
	var done, begin, end, counted atomic.Int64
	var stop atomic.Bool
	zero := time.Now()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for !stop.Load() {
				if err := appendOne(ctx, data); err != nil {
					failed.Store(&err)
					return
				}
				count := done.Add(1)
				if count == warm {
					begin.Store(int64(time.Since(zero)))
				}
				if count <= warm || (count < most && count%int64(n) != 0) {
					continue
				}
				now := int64(time.Since(zero))
				if (count >= most || now-begin.Load() >= int64(limit.time)) && !stop.Swap(true) {
					end.Store(now)
					counted.Store(count - warm)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(counted.Load()) / time.Duration(end.Load()-begin.Load()).Seconds(), ctx.Err()
}

// busy is the time that all processors have worked since the machine began.
func busy() time.Duration {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0 // no such file here: then no sample is repeated
	}
	var user, nice, system, idle, iowait, irq, soft int64
	if _, err := fmt.Sscanf(string(data), "cpu %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &iowait, &irq, &soft); err != nil {
		return 0
	}
	return time.Duration(user+nice+system+irq+soft) * (time.Second / 100)
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
