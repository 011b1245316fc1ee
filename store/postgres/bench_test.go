package postgres

import (
	"fmt"
	"testing"

	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/storetest"
)

func sample(tb testing.TB, i int) store.Incoming           { return storetest.Sample(tb, i) }
func samples(tb testing.TB, first, n int) []store.Incoming { return storetest.Samples(tb, first, n) }
func mustStore(tb testing.TB, s *Store, events []store.Incoming) {
	tb.Helper()
	storetest.Put(tb, s, events)
}

// A batch of 1 is "one transaction per event".
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1, 100, 500} {
		b.Run(fmt.Sprint(size), func(b *testing.B) { storetest.Appending(b, openTest(b, Options{}), size) })
	}
	b.Run("500/two at once", func(b *testing.B) {
		s := openTest(b, Options{})
		batches := make([][]store.Incoming, b.N)
		for i := range batches {
			batches[i] = samples(b, i*500, 500)
		}
		b.ResetTimer()
		errs := make(chan error, 2)
		for half := range 2 {
			go func() {
				var err error
				for i := half; i < len(batches) && err == nil; i += 2 {
					_, err = s.Append(b.Context(), store.Batch{Events: batches[i]})
				}
				errs <- err
			}()
		}
		for range 2 {
			if err := <-errs; err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(500*b.N)/b.Elapsed().Seconds(), "events/s")
	})
}

func BenchmarkChain(b *testing.B) { storetest.Chains(b, openTest(b, Options{})) }

func BenchmarkQuery(b *testing.B) { storetest.Queries(b, openTest(b, Options{})) }

func BenchmarkKeeping(b *testing.B) { storetest.Keeping(b, openTest(b, Options{})) }
