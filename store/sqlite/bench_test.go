package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/33god/bloodbank/store/storetest"
)

// BenchmarkAppend reports the size of the file against the JSON as well. A batch
// of 1 is "one transaction per event".
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1, 100, 500} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "events.db")
			s, err := Open(b.Context(), Options{Path: path})
			if err != nil {
				b.Fatal(err)
			}
			bytes := storetest.Appending(b, s, size)
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(info.Size())/float64(bytes), "file/json")
		})
	}
}

func BenchmarkChain(b *testing.B) { storetest.Chains(b, openTest(b, Options{})) }

func BenchmarkQuery(b *testing.B) { storetest.Queries(b, openTest(b, Options{})) }

func BenchmarkKeeping(b *testing.B) { storetest.Keeping(b, openTest(b, Options{})) }
