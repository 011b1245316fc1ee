package sqlite

import (
	"io/fs"
	"reflect"
	"testing"

	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/storetest"
)

// The migration lists the sessions of events that were stored before it.
func TestSessionsOfOlderEvents(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{})
	events, want := storetest.VoiceEvents(t)
	storetest.Put(t, s, events)
	storetest.Put(t, s, storetest.Samples(t, 0, 100))
	if err := s.writer.c.run("DROP TABLE voice_sessions"); err != nil {
		t.Fatal(err)
	}
	if err := s.writer.c.run(migration(t, "_sessions.sql")); err != nil {
		t.Fatal(err)
	}
	page, err := s.Sessions(t.Context(), store.SessionQuery{Now: want[0].Last})
	if err != nil || !reflect.DeepEqual(page.Sessions, want) {
		t.Fatalf("got  %+v, %v\nwant %+v", page, err, want)
	}
	storetest.Put(t, s, events) // none of them counts twice
	if page, err := s.Sessions(t.Context(), store.SessionQuery{Now: want[0].Last}); err != nil || !reflect.DeepEqual(page.Sessions, want) {
		t.Fatalf("%+v, %v", page, err)
	}
}

// migration is the text of the one whose file ends in this.
func migration(t *testing.T, end string) string {
	t.Helper()
	names, err := fs.Glob(migrations, "migrations/*"+end)
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	text, err := migrations.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
