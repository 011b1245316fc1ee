//go:build unix

package app

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/33god/bloodbank/internal/testenv"
)

// TestMain is also the recogniser's worker, as the program is: else a worker would
// run all tests, and they would start workers.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == ASRWorkerCommand {
		if err := RunASRWorker(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "ERROR:", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(testenv.Main(m))
}
