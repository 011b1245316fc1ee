package postgres

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/storetest"
)

// changed is a sample with another payload.
func changed(t *testing.T, i int, change func(e *bloodbank.Envelope)) store.Incoming {
	t.Helper()
	in := sample(t, i)
	change(&in.Envelope)
	raw, err := in.Envelope.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	return store.Incoming{Envelope: in.Envelope, Raw: raw}
}

// finds fails unless the filter finds exactly these events.
func finds(t *testing.T, s *Store, filter string, want ...store.Incoming) {
	t.Helper()
	f, err := store.ParseFilter(filter, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	got := storetest.AllPages(t, s, store.Query{Filter: f, Order: store.OldestFirst})
	if len(got) != len(want) {
		t.Fatalf("%.60s: %d events, want %d", filter, len(got), len(want))
	}
	for i := range got {
		if got[i].Envelope.EventID != want[i].Envelope.EventID {
			t.Fatalf("%.60s: event %d is another", filter, i)
		}
	}
}

// An event with more words than a tsvector holds is found by all of them, first
// or last, and by none that it does not have.
func TestMoreWordsThanTheIndexTakes(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{})
	b := new(strings.Builder)
	for i := range 150_000 {
		fmt.Fprintf(b, "w%dx%d ", i, i)
	}
	big := changed(t, 0, func(e *bloodbank.Envelope) { e.Payload = fmt.Appendf(nil, `{"text":%q}`, b.String()) })
	mustStore(t, s, append(samples(t, 1, 20), big))
	finds(t, s, "w3x3", big)
	finds(t, s, "w149999x149999", big)
	finds(t, s, `"w149998x149998 w149999x149999"`, big)
	finds(t, s, "w1499*", big)
	finds(t, s, "w149999x1")
}

// Names that text or an index of PostgreSQL cannot hold as they are.
func TestNamesOfAnyKind(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{})
	long := strings.Repeat("long session ", 1000)
	texts := []string{long + "1", long + "2", "zero\x00byte", `zero\0byte`, `zero\\0byte`, `\`, `'`, "*", "%", "\u00e9", "e\u0301", "日本"}
	var events []store.Incoming
	for i, text := range texts {
		events = append(events, changed(t, i, func(e *bloodbank.Envelope) {
			e.Source.App = text
			payload, err := json.Marshal(map[string]string{"session_id": text, "project": text})
			if err != nil {
				t.Fatal(err)
			}
			e.Payload = payload
		}))
	}
	mustStore(t, s, events)
	other := openTest(t, Options{URL: s.opts.URL}) // remembers no names
	one := func(field store.Field, text string) store.Filter {
		return store.Filter{Terms: []store.Term{{Field: field, Values: []store.Value{{Text: text, Phrase: true}}}}}
	}
	for i, text := range texts {
		for _, field := range []store.Field{store.FieldApp, store.FieldSession, store.FieldProject} {
			got := storetest.AllPages(t, other, store.Query{Filter: one(field, text)})
			if len(got) != 1 || got[0].Envelope.EventID != events[i].Envelope.EventID {
				t.Errorf("%s %.40q: %d events", field, text, len(got))
			}
		}
	}
	finds(t, other, "app:zero*", events[2:5]...)
	mustStore(t, other, events)
	if out, err := other.Append(t.Context(), store.Batch{Events: samples(t, 50, 1)}); err != nil || out.Duplicates != 0 {
		t.Fatal(out, err)
	}
}
