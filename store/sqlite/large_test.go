package sqlite

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/33god/bloodbank/store/storetest"
)

// BenchmarkLarge asks a store of a million events everything; BB_BENCH_EVENTS
// names another number. It reports milliseconds, and the file's size as a multiple
// of the JSON in it. Run it with -benchtime 1x.
func BenchmarkLarge(b *testing.B) {
	n := 1_000_000
	if text := os.Getenv("BB_BENCH_EVENTS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	path := filepath.Join(b.TempDir(), "events.db")
	s, err := Open(b.Context(), Options{Path: path})
	if err != nil {
		b.Fatal(err)
	}
	bytes := storetest.FillLarge(b, s, n)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/float64(bytes), "file/json")
	storetest.Large(b, openTest(b, Options{Path: path}), n)
}
