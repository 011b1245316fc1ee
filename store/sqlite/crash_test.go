package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/storetest"
)

// crashPath tells the test binary to be the process that is killed.
const crashPath = "BB_TEST_SQLITE_CRASH"

// TestCrash kills a process that appends and looks for everything it had been
// promised.
func TestCrash(t *testing.T) {
	if path := os.Getenv(crashPath); path != "" {
		appendForEver(t, path)
	}
	t.Parallel()
	path := filepath.Join(t.TempDir(), "events.db")
	promised := map[string]bool{}
	for round := range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestCrash$")
		child.Env = append(os.Environ(), crashPath+"="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; n < 200*(round+1)+round*37 && lines.Scan(); n++ {
			promised[lines.Text()] = true
		}
		cancel() // SIGKILL, in the middle of something
		for lines.Scan() {
			promised[lines.Text()] = true
		}
		_ = child.Wait() // it was killed
	}
	s := openTest(t, Options{Path: path})
	checkFile(t, s)
	found := map[string]bool{}
	for seq := int64(0); ; {
		events, err := s.After(t.Context(), seq, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(events) == 0 {
			break
		}
		for _, e := range events {
			if e.Sequence <= seq || found[e.Envelope.EventID.String()] {
				t.Fatalf("%s, %d after %d", e.Envelope.EventID, e.Sequence, seq)
			}
			seq = e.Sequence
			found[e.Envelope.EventID.String()] = true
		}
	}
	for id := range promised {
		if _, err := bloodbank.ParseEventID(id); err == nil && !found[id] {
			t.Fatalf("%s was promised and is lost", id)
		}
	}
	report, err := store.VerifyLedger(t.Context(), s, store.VerifyOptions{})
	if err != nil || !report.OK || report.Events != int64(len(found)) {
		t.Fatalf("the ledger after the crashes: %+v, %v; want %d events", report, err, len(found))
	}
	if len(found) < 2000 {
		t.Fatalf("only %d events were written", len(found))
	}
}

func appendForEver(t *testing.T, path string) {
	s, err := Open(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		events := storetest.Samples(t, i*20, 20)
		if _, err := s.Append(t.Context(), store.Batch{Events: events}); err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			fmt.Println(e.Envelope.EventID)
		}
	}
}
