package sqlite

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/33god/bloodbank/store"
)

func TestSmoke(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?c#d%20", "events.db")
	s, err := Open(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	events := benchEvents(t, 0, 150)
	for range 2 {
		out, err := s.Append(t.Context(), store.Batch{Events: events, Rejected: []store.Rejected{{Raw: []byte("x"), Reason: "no JSON"}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(out)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = Open(t.Context(), Options{Path: path, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := s.After(t.Context(), 0, 1000)
	if err != nil || len(got) != 150 {
		t.Fatal(len(got), err)
	}
	for i := range got {
		if !bytes.Equal(got[i].Raw, events[i].Raw) {
			t.Fatalf("%s", got[i].Raw)
		}
		if e, err := s.Get(t.Context(), got[i].Envelope.EventID); err != nil || e.Sequence != int64(i+1) {
			t.Fatal(err)
		}
	}
}
