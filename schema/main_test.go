package schema_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"testing"

	"github.com/33god/bloodbank/schema"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open returns a registry with the embedded schemas and, if dir is not "",
// those of dir.
func open(tb testing.TB, dir string) *schema.Registry {
	tb.Helper()
	r, err := schema.Open(tb.Context(), schema.Options{Dir: dir})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// vectors reads a file of testdata, one JSON value a line.
func vectors[T any](tb testing.TB, file string) []T {
	tb.Helper()
	f, err := os.Open("testdata/" + file)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var all []T
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var v T
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			tb.Fatalf("%s: %v", file, err)
		}
		all = append(all, v)
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
	return all
}

func exampleContext() context.Context { return context.Background() }
