package postgres

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/33god/bloodbank/internal/testenv"
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
	url := testenv.Postgres(t).URL()
	s := openTest(t, Options{URL: url})
	return storetest.LedgerSubject{
		Store: s,
		Other: func() store.Store { return openTest(t, Options{URL: url}) },
		Exec:  func(text string) { execTest(t, url, text) },
		Forge: `INSERT INTO events SELECT 100000, occurred_at, stored_at, gen_random_uuid(), type, app, host, source, agent, agent_type,
				session, project, flags, parents, raw, words FROM events WHERE sequence = 1`,
		Downgrade: []string{dropLedger, "DELETE FROM migrations WHERE number >= 3"},
		Reopen: func() interface {
			store.Store
			store.Ledger
		} {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return openTest(t, Options{URL: url})
		},
	}
}

// dropLedger undoes the migration of the ledger.
const dropLedger = "DROP TRIGGER enter ON events; DROP FUNCTION enter(); DROP TABLE ledger, ledger_start, removals"

// execTest changes the database past the store.
func execTest(t *testing.T, url, text string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	if _, err := c.Exec(t.Context(), "SET search_path = bloodbank; "+text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}
