package cli_test

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/33god/bloodbank/cli"
)

// TestMain lets the test binary be bb: for scripts, which call it by name, and
// for tests that start it as a process (asBB).
func TestMain(m *testing.M) {
	if os.Getenv(asBBEnv) != "" {
		os.Exit(runBB())
	}
	testscript.Main(m, map[string]func(){"bb": func() { os.Exit(runBB()) }})
}

// asBBEnv makes the test binary run as bb.
const asBBEnv = "BBTEST_RUN_AS_BB"

func runBB() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cli.Main(ctx, cli.Process{
		Args: os.Args[1:], Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	})
}
