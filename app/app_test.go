package app

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/33god/bloodbank"
)

// An event goes all the way, and the answer says how far it has come.
func TestEventGoesAllTheWay(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	for _, level := range []bloodbank.AckLevel{bloodbank.AckWAL, bloodbank.AckBus, bloodbank.AckStored} {
		r := benchRequest()
		r.Ack = level
		receipt, err := a.gateway.Accept(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if receipt.Ack != level {
			t.Errorf("asked for %s, reached %s", level, receipt.Ack)
		}
		if level == bloodbank.AckStored {
			if _, err := a.store.Get(t.Context(), receipt.EventID); err != nil {
				t.Errorf("stored, but: %v", err)
			}
		}
	}
}

// A second start on the same data is refused while the first runs, and works
// after it has stopped; what the first accepted is there.
func TestOneServerOwnsTheData(t *testing.T) {
	t.Parallel()
	first := startApp(t)
	r := benchRequest()
	r.Ack = bloodbank.AckStored
	receipt, err := first.gateway.Accept(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	second := New(first.cfg, "test", t.Output())
	if err := second.Start(t.Context()); bloodbank.CodeOf(err) != bloodbank.CodeConflict {
		t.Fatalf("a second server on the same data: %v", err)
	}
	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := second.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := second.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	if _, err := second.store.Get(t.Context(), receipt.EventID); err != nil {
		t.Error(err)
	}
	r.Envelope.EventID, r.Ack = receipt.EventID, ""
	again, err := second.gateway.Accept(t.Context(), r)
	if err != nil || !again.Duplicate || again.Sequence != receipt.Sequence {
		t.Errorf("the same event after a restart: %+v, %v", again, err)
	}
}

// A start that fails says why and leaves nothing behind: neither the lock of the
// data folder nor a goroutine.
func TestFailedStartLeavesNothing(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	a := startApp(t)
	if err := a.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg := a.cfg
	for name, spoil := range map[string]func(){
		"taken port":    func() { cfg.Listen = taken.Addr().String() },
		"unknown bus":   func() { cfg.Bus.URL = "kafka://127.0.0.1/" },
		"unknown store": func() { cfg.Store.URL = "mysql://127.0.0.1/x" },
		"broken schema": func() {
			cfg.Schema.Dir = t.TempDir()
			if err := os.WriteFile(filepath.Join(cfg.Schema.Dir, "a.b.json"), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"unknown recogniser": func() { cfg.Voice.Recogniser = "ears" },
	} {
		cfg = a.cfg
		spoil()
		if err := New(cfg, "test", t.Output()).Start(t.Context()); err == nil {
			t.Errorf("%s: it started", name)
		}
	}
	again := New(a.cfg, "test", t.Output())
	if err := again.Start(t.Context()); err != nil {
		t.Fatalf("after the failures: %v", err)
	}
	if err := again.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// An event that was published without a server is delivered by the next one.
func TestOfflineThenUp(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	if err := a.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	receipts, err := PublishOffline(t.Context(), a.cfg, Acceptance{}, benchRequest().Envelope, benchRequest().Envelope)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := PublishOffline(t.Context(), a.cfg, Acceptance{}, bloodbank.Envelope{EventType: "no.such", Payload: []byte("1")}); err == nil {
		t.Error("an unknown type was accepted offline")
	}
	b := New(a.cfg, "test", t.Output())
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, r := range receipts {
		ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
		if err := b.recorder.Stored(ctx, r.EventID); err != nil {
			t.Errorf("%s: %v", r.EventID, err)
		}
		cancel()
	}
	if err := errors.Join(b.Stop(t.Context()), b.Stop(t.Context())); err != nil {
		t.Error(err)
	}
}
