package storetest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

func testOutlines(t *testing.T, k *kit) {
	s, ok := k.Store.(store.Outliner)
	if !ok {
		t.Skipf("SKIPPED: %T draws no graphs", k.Store)
	}
	name, empty := `Ann "A" \ 日本`, ""
	root := k.event(nil)
	all := append([]store.Incoming{root}, k.events(40, func(i int, e *bloodbank.Envelope) {
		e.CorrelationIDs = []bloodbank.EventID{root.Envelope.EventID, root.Envelope.EventID, newID(t)}
		e.Payload = fmt.Appendf(nil, `{"session_id":"s%d"}`, i%3)
		switch i % 4 {
		case 1:
			e.AgentContext = &bloodbank.AgentContext{Type: bloodbank.AgentClaudeCode, Name: &name}
		case 2:
			e.AgentContext = &bloodbank.AgentContext{Type: bloodbank.AgentClaudeCode}
		case 3:
			e.AgentContext = &bloodbank.AgentContext{Type: bloodbank.AgentClaudeCode, Name: &empty}
			e.Payload = fmt.Appendf(nil, `{"text":%q}`, strings.Repeat("x", store.MaxOutline))
		}
	})...)
	k.add(all...)
	ids := []bloodbank.EventID{newID(t)}
	for _, e := range all {
		ids = append(ids, e.Envelope.EventID, e.Envelope.EventID)
	}
	got, err := s.Outlines(t.Context(), ids)
	if err != nil || len(got) != len(all) {
		t.Fatalf("%d outlines, %v; want %d", len(got), err, len(all))
	}
	byID := map[bloodbank.EventID]store.Outline{}
	for _, o := range got {
		byID[o.ID] = o
	}
	if o := byID[root.Envelope.EventID]; o.Children != 40 || o.Agent != "" || o.Session != "" || !bytes.Equal(o.Raw, root.Raw) {
		t.Fatalf("%+v", o)
	}
	for i, e := range all[1:] {
		o := byID[e.Envelope.EventID]
		want := store.Outline{ID: e.Envelope.EventID, Session: fmt.Sprintf("s%d", i%3), Raw: e.Raw}
		switch i % 4 {
		case 1:
			want.Agent = name
		case 2:
			want.Agent = "claude-code"
		case 3:
			want.Session, want.Raw = "", nil
		}
		if o.Agent != want.Agent || o.Session != want.Session || o.Children != 0 || !bytes.Equal(o.Raw, want.Raw) || (o.Raw == nil) != (want.Raw == nil) {
			t.Fatalf("event %d: %+v, want %+v", i, o, want)
		}
	}
	if got, err := s.Outlines(t.Context(), nil); err != nil || len(got) != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
}
