package jetstream

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: file}); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Errorf("a file as folder: %v", err)
	}
	broken := t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "jetstream"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: broken}); err == nil || !strings.Contains(err.Error(), broken) {
		t.Errorf("a file in the server's place: %v", err)
	}
	_, err := Open(t.Context(), Options{Dir: "x", Window: -1, MaxMessage: 1, DuplicateWindow: time.Nanosecond})
	for _, field := range []string{"Window", "MaxMessage", "DuplicateWindow"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named: %v", field, err)
		}
	}
	if _, err := os.Stat("x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error("bad options left a folder behind")
	}
	if _, err := Open(t.Context(), Options{Dir: t.TempDir(), Listen: "nowhere"}); err == nil || !strings.Contains(err.Error(), "Listen") {
		t.Errorf("bad Listen: %v", err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	o := Options{Dir: t.TempDir(), Listen: taken.Addr().String()}
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a taken port: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ended, Options{Dir: o.Dir}); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	open(t, Options{Dir: o.Dir}) // the failures left nothing behind
}

func TestListen(t *testing.T) {
	t.Parallel()
	if b := open(t, Options{Dir: t.TempDir()}); b.Addr() != "" {
		t.Errorf("a port is open at %s without being asked for", b.Addr())
	}
	b := open(t, Options{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	conn, err := nats.Connect(b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	// A message of others, without our headers, comes through too.
	if _, err := js.Publish(t.Context(), SubjectPrefix+"other.thing.made", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	got := drain(t, b, "g", 1)[0]
	if !got.ID.IsZero() || got.Type != "other.thing.made" || string(got.Data) != "{}" {
		t.Errorf("delivered %+v", got)
	}
}
