package cli_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/33god/bloodbank/cli"
)

// TestMain lets the test binary be bb: for scripts, which call it by name, and
// for tests that start it as a process (asBB).
func TestMain(m *testing.M) {
	if os.Getenv(asBBEnv) != "" {
		os.Exit(runBB())
	}
	testscript.Main(leakChecked{m}, map[string]func(){"bb": func() { os.Exit(runBB()) }})
}

// leakChecked fails the tests when they leave a goroutine behind.
type leakChecked struct{ m *testing.M }

// Run implements testscript.TestingM.
func (l leakChecked) Run() int {
	code := l.m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
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
