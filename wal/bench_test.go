package wal_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/33god/bloodbank/wal"
	"github.com/33god/bloodbank/wal/segment"
	"github.com/33god/bloodbank/wal/vfs"
)

// benchRecord is 1 KiB that passes for JSON.
func benchRecord() []byte {
	return append(append([]byte(`{"p":"`), bytes.Repeat([]byte("x"), 1024-8)...), `"}`...)
}

// BenchmarkAppend is durable append at several numbers of appenders, with rotation and recycling as in production.
// Compare with BenchmarkRawCommitter of the same number; bench/ prints the ratios.
func BenchmarkAppend(b *testing.B) {
	for _, appenders := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprint(appenders), func(b *testing.B) {
			l, err := wal.Open(b.Context(), wal.Options{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			if err := l.Settle(b.Context()); err != nil {
				b.Fatal(err)
			}
			record := benchRecord()
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range appenders {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						seq, err := l.Append(b.Context(), record)
						if err != nil {
							b.Error(err)
							return
						}
						if seq%8192 == 0 {
							_ = l.Truncate(b.Context(), seq)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rec/s")
			b.ReportMetric(float64(b.N)/float64(l.Status().Commits), "rec/commit")
		})
	}
}

// BenchmarkRawCommitter is the ceiling: one goroutine that writes a batch of n records and calls fdatasync, on a file
// filled beforehand, with no records to build, check or hand out.
func BenchmarkRawCommitter(b *testing.B) {
	for _, n := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f, err := vfs.OS().Open(filepath.Join(b.TempDir(), "raw"), vfs.Create)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			const size = 64 << 20
			if err := segment.Fill(b.Context(), f, 0, size); err != nil {
				b.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
			batch := bytes.Repeat(append(benchRecord(), '\n'), n)
			off := int64(0)
			b.ResetTimer()
			for done := 0; done < b.N; done += n {
				if off+int64(len(batch)) > size {
					off = 0
				}
				if _, err := f.WriteAt(batch, off); err != nil {
					b.Fatal(err)
				}
				if err := f.Sync(); err != nil {
					b.Fatal(err)
				}
				off += int64(len(batch))
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rec/s")
		})
	}
}
