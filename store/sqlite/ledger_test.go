package sqlite

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/storetest"
)

func TestLedgerSuite(t *testing.T) {
	t.Parallel()
	storetest.RunLedger(t, ledgerSubject)
}

func TestRemoverSuite(t *testing.T) {
	t.Parallel()
	storetest.RunRemover(t, ledgerSubject)
}

func ledgerSubject(t *testing.T) storetest.LedgerSubject {
	path := filepath.Join(t.TempDir(), "events.db")
	s := openTest(t, Options{Path: path, BusyTimeout: time.Minute})
	return storetest.LedgerSubject{
		Store: s,
		Other: func() store.Store { return openTest(t, Options{Path: path, BusyTimeout: time.Minute}) },
		Exec:  func(text string) { execTest(t, path, text) },
		Forge: `INSERT INTO events SELECT 100000, randomblob(16), time_us, stored_us, type, app, host, source, agent, agent_type,
				session, project, flags, parents, raw FROM events WHERE sequence = 1`,
		Downgrade: []string{"DROP TABLE ledger", "DROP TABLE ledger_start", "DROP TABLE removals", "DROP TABLE voice_sessions", "PRAGMA user_version = 1"},
		Reopen: func() interface {
			store.Store
			store.Ledger
		} {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return openTest(t, Options{Path: path, BusyTimeout: time.Minute})
		},
	}
}

// execTest changes the file past the store.
func execTest(t *testing.T, path, text string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}
