// Command bb is Bloodbank: the event bus, its doors and its command line in one
// binary. See package cli for the verbs and app for how the parts fit.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/33god/bloodbank/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, cli.Process{
		Args: os.Args[1:], Environ: os.Environ(),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	})
	stop()
	os.Exit(code)
}
