package pocketsphinx_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/33god/bloodbank/voice/pocketsphinx"
	"go.uber.org/goleak"
)

// TestMain is the worker when the recogniser under test starts this binary again.
func TestMain(m *testing.M) {
	if os.Getenv("BB_TEST_ASR_WORKER") == "1" {
		if err := pocketsphinx.RunWorker(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "ERROR:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv("BB_TEST_ASR_WORKER") == "hang" {
		hang()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// config starts workers from this test binary.
func config(t testing.TB) pocketsphinx.Config {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return pocketsphinx.Config{Command: []string{self}, Env: []string{"BB_TEST_ASR_WORKER=1"}}
}

// hang is a worker that says it is ready and then never answers.
func hang() {
	var load [9]byte
	if _, err := io.ReadFull(os.Stdin, load[:]); err != nil {
		return
	}
	fmt.Print("\x00\x00\x00\x05r" + string(load[5:]))
	_, _ = io.Copy(io.Discard, os.Stdin)
}
