package postgres

import (
	"io/fs"
	"reflect"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/storetest"
)

// The migration lists the sessions of events that were stored before it, and
// those that an older bb goes on to store.
func TestSessionsOfOlderEvents(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{})
	events, want := storetest.VoiceEvents(t)
	mustExec(t, s, "DROP TRIGGER voice_told ON events; DROP TABLE voice_sessions")
	mustStore(t, s, events[:3])
	names, err := fs.Glob(migrations, "migrations/*_sessions.sql")
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	text, err := migrations.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		mustExec(t, s, string(text))
	}
	mustStore(t, s, events)
	page, err := s.Sessions(t.Context(), store.SessionQuery{Now: want[0].Last})
	if err != nil || !reflect.DeepEqual(page.Sessions, want) {
		t.Fatalf("got  %+v, %v\nwant %+v", page, err, want)
	}
	storetest.CheckStore(t, s, remembered(events))
}

func remembered(events []store.Incoming) map[bloodbank.EventID][]byte {
	all := map[bloodbank.EventID][]byte{}
	remember(all, events)
	return all
}
