package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/internal/testenv"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/storetest"
)

// opens fails if the store can be opened, and returns why it cannot.
func opens(t *testing.T, url string) error {
	t.Helper()
	s, err := Open(t.Context(), Options{URL: url})
	if err == nil {
		t.Fatal(errors.Join(errors.New("it opened"), s.Close()))
	}
	return err
}

// with returns the URL with another user, password, database or parameters.
func with(t *testing.T, base, user, password, database string, params ...string) string {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		u.User = url.UserPassword(user, password)
	}
	if database != "" {
		u.Path = "/" + database
	}
	q := u.Query()
	for i := 0; i < len(params); i += 2 {
		q.Set(params[i], params[i+1])
	}
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	return u.String()
}

func TestBadURLs(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"", "events.db", "mysql://bb:hunter2@127.0.0.1/x", "postgres://bb:hunter2%zz@127.0.0.1/x", "postgres://bb:hunter2@127.0.0.1:port/x",
		"postgres://bb:hunter2@[::1/x", "host=127.0.0.1 password=hunter2", "postgres://bb:hunter2\n@127.0.0.1/x", "postgres://bb:x@127.0.0.1/x?connect_timeout=hunter2",
	} {
		refused(t, opens(t, bad), bloodbank.CodeInvalid, "BB_STORE", "postgres://user:password@host")
	}
	refused(t, opens(t, "postgres://bb:hunter2@127.0.0.1/x?sslmode=perhaps"), bloodbank.CodeInvalid, "BB_STORE", "sslmode")
	refused(t, opens(t, "postgres://bb:hunter2@127.0.0.1/x?sslmode=verify-full&sslrootcert=/nowhere"), bloodbank.CodeInvalid, "BB_STORE", "sslrootcert")
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	server := testenv.Postgres(t)
	base := server.URL()
	role := "weak_" + server.Exec("SELECT current_database()")
	role = strings.TrimSpace(role)
	server.Exec("CREATE ROLE " + role + " LOGIN PASSWORD 'hunter2'; REVOKE ALL ON DATABASE " + strings.TrimPrefix(role, "weak_") + " FROM PUBLIC; GRANT CONNECT ON DATABASE " +
		strings.TrimPrefix(role, "weak_") + " TO " + role)
	t.Cleanup(func() { server.Exec("DROP OWNED BY " + role + "; DROP ROLE " + role) })
	server.Exec("CREATE SCHEMA other; CREATE TABLE other.events (x int); CREATE SCHEMA newer; CREATE TABLE newer.migrations (number int); INSERT INTO newer.migrations VALUES (999)")
	latin := strings.TrimPrefix(role, "weak_") + "_latin"
	server.Exec("CREATE DATABASE " + latin + " ENCODING 'LATIN1' TEMPLATE template0")
	t.Cleanup(func() { server.Exec("DROP DATABASE " + latin + " WITH (FORCE)") })

	refused(t, opens(t, with(t, base, "bb", "hunter2", "")), bloodbank.CodeUnauthorized, "BB_STORE", "password", server.Addr())
	refused(t, opens(t, with(t, base, "nobody", "hunter2", "")), bloodbank.CodeUnauthorized, "BB_STORE", "user")
	refused(t, opens(t, with(t, base, "", "", "missing")), bloodbank.CodeInvalid, "createdb", "BB_STORE")
	refused(t, opens(t, with(t, base, role, "hunter2", "")), bloodbank.CodeForbidden, "CREATE SCHEMA", "bloodbank")
	refused(t, opens(t, with(t, base, "", "", "", "search_path", "other")), bloodbank.CodeInvalid, "another program", "search_path")
	refused(t, opens(t, with(t, base, "", "", "", "search_path", "newer")), bloodbank.CodeInvalid, "update bb", "999")
	refused(t, opens(t, with(t, base, "", "", latin)), bloodbank.CodeInvalid, "LATIN1", "UTF8")
	refused(t, opens(t, "postgres://bb:hunter2@127.0.0.1:1/x"), bloodbank.CodeUnavailable, "127.0.0.1:1", "BB_STORE")

	// What an administrator has made is enough for a user who may nothing else.
	server.Exec("CREATE SCHEMA given AUTHORIZATION " + role)
	mustStore(t, openTest(t, Options{URL: with(t, base, role, "hunter2", "", "search_path", "given")}), samples(t, 0, 10))
}

// A user with rights on rows alone can use the store, but not repair it.
func TestOnlyRows(t *testing.T) {
	t.Parallel()
	server := testenv.Postgres(t)
	owner := openTest(t, Options{URL: server.URL()})
	role := "rows_" + strings.TrimSpace(server.Exec("SELECT current_database()"))
	server.Exec("CREATE ROLE " + role + " LOGIN PASSWORD 'hunter2'; GRANT USAGE ON SCHEMA bloodbank TO " + role + "; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA bloodbank TO " + role)
	t.Cleanup(func() { server.Exec("DROP OWNED BY " + role + "; DROP ROLE " + role) })
	s := openTest(t, Options{URL: with(t, server.URL(), role, "hunter2", "")})
	mustStore(t, s, samples(t, 0, tidyAfter+100))
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := s.Remove(t.Context(), []int64{1}, "test")
	refused(t, err, bloodbank.CodeForbidden, "events", "GRANT")
	server.Exec("GRANT DELETE ON bloodbank.events, bloodbank.edges, bloodbank.voice_sessions TO " + role)
	if r, err := s.Remove(t.Context(), []int64{1}, "test"); err != nil || r.Events != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	server.Exec("REVOKE INSERT ON bloodbank.events FROM " + role)
	_, err = s.Append(t.Context(), store.Batch{Events: samples(t, 0, 1)})
	refused(t, err, bloodbank.CodeForbidden, "events", "GRANT")
	mustStore(t, owner, samples(t, 0, 1))
}

// Several processes start at once on an empty database, and again later.
func TestMigrations(t *testing.T) {
	t.Parallel()
	server := testenv.Postgres(t)
	target := with(t, server.URL(), "", "", "", "search_path", `"odd""name, x"`)
	for range 3 {
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() {
				s, err := Open(t.Context(), Options{URL: target})
				if err == nil {
					_, err = s.Append(t.Context(), store.Batch{Events: samples(t, i, 2)})
					err = errors.Join(err, s.Close())
				}
				errs[i] = err
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	s := openTest(t, Options{URL: target})
	if n := len(storetest.ReadAll(t, s)); n != 48 {
		t.Fatalf("%d events, want 48", n)
	}
	if s.schema != `odd"name, x` {
		t.Fatalf("the schema is %q", s.schema)
	}
	quoted := pgx.Identifier{s.schema}.Sanitize()
	if got := strings.TrimSpace(server.Exec("SELECT count(*), max(number) FROM " + quoted + ".migrations")); got != fmt.Sprintf("%d|%d", schemaVersion(), schemaVersion()) {
		t.Fatalf("migrations applied: %s", got)
	}
	readable := "SELECT count(*) FROM " + quoted + ".readable WHERE event_type LIKE 'transcription.voice.%' AND app LIKE 'app%' AND host = 'workstation' AND session_id = 'session-0' AND raw::json ->> 'version' <> ''"
	if got := strings.TrimSpace(server.Exec(readable)); got != "48" {
		t.Fatalf("the view shows %s events, want 48", got)
	}
}

// A store of the first version is brought up to date by several processes at
// once, while one of that version goes on appending.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t).URL()
	older := openTest(t, Options{URL: url})
	all := map[bloodbank.EventID][]byte{}
	mustStore(t, older, remember(all, samples(t, 0, 100)))
	mustExec(t, older, "DROP TRIGGER announce ON events; DROP FUNCTION announce(); DELETE FROM migrations WHERE number > 1; "+dropLedger)
	stores := make([]*Store, 6)
	var wg sync.WaitGroup
	for i := range stores {
		wg.Go(func() {
			var err error
			if stores[i], err = Open(t.Context(), Options{URL: url}); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range 20 {
		mustStore(t, older, remember(all, samples(t, 100+i*20, 20)))
	}
	wg.Wait()
	for _, s := range stores {
		if s != nil {
			storetest.CheckStore(t, s, all)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	var applied int
	err := older.call(t.Context(), "test", func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, "SELECT count(*) FROM migrations").Scan(&applied)
	})
	if err != nil || applied != schemaVersion() {
		t.Fatalf("%d migrations applied, %v", applied, err)
	}
	// Not one of the older one's events is missing in the ledger.
	report, err := store.VerifyLedger(t.Context(), older, store.VerifyOptions{})
	if err != nil || !report.OK || report.Events+report.Start.Events != int64(len(all)) {
		t.Fatalf("%+v, %v", report, err)
	}
}

// A migration that fails leaves the schema as it was.
func TestMigrationsAreWhole(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t).URL()
	s := openTest(t, Options{URL: url})
	mustStore(t, s, samples(t, 0, 10))
	// The trigger of the second one is in the way, its function is not.
	mustExec(t, s, "DELETE FROM migrations WHERE number > 1; ALTER FUNCTION announce() RENAME TO announced")
	refused(t, opens(t, url), bloodbank.CodeInvalid, "migration 2")
	var left int
	err := s.call(t.Context(), "test", func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, "SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1 AND p.proname = 'announce'", s.schema).Scan(&left)
	})
	if err != nil || left != 0 {
		t.Fatalf("%d functions are left of a migration that failed, %v", left, err)
	}
	mustStore(t, s, samples(t, 10, 10))
}

func TestFirstSchema(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"": "bloodbank", "  ": "bloodbank", "Mine": "mine", " a , b": "a", `"Mine"`: "Mine", `"a,b", c`: "a,b", `"say ""so"""`: `say "so"`,
	} {
		if got := firstSchema(path); got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
}

// A server that is set up to lose is told not to, as far as a client can.
func TestPromises(t *testing.T) {
	t.Parallel()
	server := testenv.PrivatePostgres(t, "synchronous_commit = off", "fsync = off", "default_transaction_isolation = 'repeatable read'")
	var log strings.Builder
	s := openTest(t, Options{URL: server.URL(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if !strings.Contains(log.String(), "fsync = off") {
		t.Fatalf("the log says %q", log.String())
	}
	var commit, isolation string
	err := s.call(t.Context(), "test", func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, "SELECT current_setting('synchronous_commit'), current_setting('default_transaction_isolation')").Scan(&commit, &isolation)
	})
	if err != nil || commit != "on" || isolation != "read committed" {
		t.Fatalf("synchronous_commit is %s, isolation is %s, %v", commit, isolation, err)
	}
}

func TestOpenWhileDown(t *testing.T) {
	t.Parallel()
	server := testenv.PrivatePostgres(t)
	server.Stop()
	refused(t, opens(t, server.URL()), bloodbank.CodeUnavailable, server.Addr())
	s := openTest(t, Options{URL: server.URL(), AllowDown: true})
	batch := samples(t, 0, 10)
	_, err := s.Append(t.Context(), store.Batch{Events: batch})
	refused(t, err, bloodbank.CodeUnavailable, server.Addr())
	server.Start()
	all := map[bloodbank.EventID][]byte{}
	mustStore(t, s, remember(all, batch))
	storetest.CheckStore(t, s, all)
	// What no waiting mends is refused all the same.
	_, err = Open(t.Context(), Options{URL: with(t, server.URL(), "bb", "hunter2", ""), AllowDown: true})
	refused(t, err, bloodbank.CodeUnauthorized)
}
