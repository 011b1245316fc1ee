package postgres

import (
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/internal/testenv"
	"github.com/33god/bloodbank/store"
)

// refusedEarly fails unless doctor and start both refuse the URL, the start even
// where the server may be down.
func refusedEarly(t *testing.T, url string, code bloodbank.Code, words ...string) {
	t.Helper()
	refused(t, Probe(t.Context(), Options{URL: url}), code, words...)
	s, err := Open(t.Context(), Options{URL: url, AllowDown: true})
	if err == nil {
		err = errors.Join(errors.New("it opened"), s.Close())
	}
	refused(t, err, code, words...)
}

// Probe says yes to what Open would make, and makes nothing.
func TestProbeChangesNothing(t *testing.T) {
	t.Parallel()
	server := testenv.Postgres(t)
	objects := "SELECT count(*) FROM pg_namespace WHERE nspname = 'bloodbank'"
	probe := func() {
		t.Helper()
		if err := Probe(t.Context(), Options{URL: server.URL()}); err != nil {
			t.Fatal(err)
		}
	}
	probe()
	if got := strings.TrimSpace(server.Exec(objects)); got != "0" {
		t.Fatalf("probing has made %s schemas", got)
	}
	s := openTest(t, Options{URL: server.URL()})
	mustStore(t, s, samples(t, 0, 10))
	before := server.Exec("SELECT xmin, * FROM bloodbank.checks")
	probe()
	if after := server.Exec("SELECT xmin, * FROM bloodbank.checks"); after != before {
		t.Fatalf("probing has written: %s, %s", before, after)
	}
}

func TestMisconfigured(t *testing.T) {
	t.Parallel()
	server := testenv.Postgres(t)
	base := server.URL()
	database := strings.TrimSpace(server.Exec("SELECT current_database()"))
	role := "low_" + database
	server.Exec("CREATE ROLE " + role + " LOGIN PASSWORD 'hunter2'; CREATE SCHEMA other; CREATE TABLE other.events (x int); CREATE SCHEMA closed; " +
		"CREATE SCHEMA newer; CREATE TABLE newer.migrations (number int); INSERT INTO newer.migrations VALUES (999)")
	t.Cleanup(func() { server.Exec("DROP OWNED BY " + role + "; DROP ROLE " + role) })
	schema := func(name string) string { return with(t, base, "", "", "", "search_path", name) }
	low := func(name string) string { return with(t, base, role, "hunter2", "", "search_path", name) }

	refusedEarly(t, with(t, base, "bb", "hunter2", ""), bloodbank.CodeUnauthorized, "store.url", "BB_STORE", "--store", "password", "pg_hba.conf")
	refusedEarly(t, with(t, base, "", "", "missing"), bloodbank.CodeInvalid, "createdb", "BB_STORE")
	refusedEarly(t, schema("other"), bloodbank.CodeInvalid, "another program", "search_path", "BB_STORE")
	refusedEarly(t, schema("newer"), bloodbank.CodeInvalid, "update bb", "999")
	refusedEarly(t, with(t, base, "", "", "", "sslmode", "require"), bloodbank.CodeInvalid, "TLS", "sslmode", "BB_STORE")
	refusedEarly(t, low("bloodbank"), bloodbank.CodeForbidden, "CREATE SCHEMA", "bloodbank", "BB_STORE")

	refusedEarly(t, low("closed"), bloodbank.CodeForbidden, "GRANT USAGE, CREATE", "closed", "BB_STORE")

	mustStore(t, openTest(t, Options{URL: base}), samples(t, 0, 1))
	refusedEarly(t, low("bloodbank"), bloodbank.CodeForbidden, "GRANT USAGE ON SCHEMA", "BB_STORE")
	server.Exec("GRANT USAGE ON SCHEMA bloodbank TO " + role + "; GRANT SELECT ON ALL TABLES IN SCHEMA bloodbank TO " + role)
	refusedEarly(t, low("bloodbank"), bloodbank.CodeForbidden, "INSERT ON events", "GRANT SELECT, INSERT, UPDATE", "BB_STORE")
	server.Exec("DELETE FROM bloodbank.migrations WHERE number > 1")
	refusedEarly(t, low("bloodbank"), bloodbank.CodeForbidden, "update", "user")
	server.Exec("GRANT CREATE ON SCHEMA bloodbank TO " + role)
	refusedEarly(t, low("bloodbank"), bloodbank.CodeForbidden, "update", "who owns the tables")
}

func TestReadOnlyDatabase(t *testing.T) {
	t.Parallel()
	server := testenv.Postgres(t)
	s := openTest(t, Options{URL: server.URL()})
	database := strings.TrimSpace(server.Exec("SELECT current_database()"))
	server.Exec("ALTER DATABASE " + database + " SET default_transaction_read_only = on")
	refusedEarly(t, server.URL(), bloodbank.CodeInvalid, "read-only", "default_transaction_read_only", "BB_STORE")
	// Who runs already and connects anew is told, and does not stay with a
	// connection that takes no writes when others would.
	server.Exec("BEGIN READ WRITE; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'bloodbank' AND datname = current_database(); COMMIT")
	batch := samples(t, 0, 10)
	_, err := s.Append(t.Context(), store.Batch{Events: batch})
	refused(t, err, bloodbank.CodeUnavailable, "primary", "BB_STORE")
	server.Exec("BEGIN READ WRITE; ALTER DATABASE " + database + " RESET default_transaction_read_only; COMMIT")
	mustStore(t, s, batch)
}

// A standby, and a server that lets in by TLS alone.
func TestServersThatAreSetUpOtherwise(t *testing.T) {
	t.Parallel()
	server := testenv.PrivatePostgres(t)
	s := openTest(t, Options{URL: server.URL()})
	mustStore(t, s, samples(t, 0, 10))

	hba := strings.TrimSpace(server.Exec("SHOW hba_file"))
	was, err := os.ReadFile(hba)
	if err != nil {
		t.Fatal(err)
	}
	rewrite := func(text string) {
		t.Helper()
		if err := os.WriteFile(hba, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rewrite("hostssl all all 127.0.0.1/32 scram-sha-256\n")
	server.Exec("SELECT pg_reload_conf()")
	for err = nil; err == nil && t.Context().Err() == nil; {
		err = Probe(t.Context(), Options{URL: server.URL()})
	}
	refusedEarly(t, server.URL(), bloodbank.CodeInvalid, "TLS", "sslmode=require", "BB_STORE", "pg_hba.conf")
	rewrite(string(was))
	server.Restart()

	standby := filepath.Join(strings.TrimSpace(server.Exec("SHOW data_directory")), "standby.signal")
	if err := os.WriteFile(standby, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	server.Restart()
	t.Cleanup(func() { // before the database is dropped
		if err := os.Remove(standby); err != nil {
			t.Error(err)
		}
		server.Restart()
	})
	refusedEarly(t, server.URL(), bloodbank.CodeInvalid, "standby", "primary", "BB_STORE")
	// Who was there before can read on, and is told why it cannot write.
	if n, err := s.Count(t.Context(), noFilter()); err != nil || n != 10 {
		t.Fatal(n, err)
	}
	refused(t, s.Check(t.Context()), bloodbank.CodeUnavailable, "primary", "BB_STORE")
}

func TestTooOld(t *testing.T) {
	t.Parallel()
	s := Store{place: "db:5432/events"}
	refused(t, s.checkVersion(110_022), bloodbank.CodeInvalid, "version 11", "12", "BB_STORE")
	if err := s.checkVersion(120_000); err != nil {
		t.Fatal(err)
	}
}

// stranger answers every connection with text, and ends it.
func stranger(t *testing.T, text string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if text != "" {
				_, _ = c.Read(make([]byte, 8))
				_, _ = c.Write([]byte(text))
			}
			_ = c.Close()
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
	return l.Addr().String()
}

func TestNotPostgres(t *testing.T) {
	t.Parallel()
	at := func(addr, query string) string {
		u := url.URL{Scheme: "postgres", User: url.UserPassword("bb", "hunter2"), Host: addr, Path: "/x", RawQuery: query}
		return u.String()
	}
	for _, answer := range []string{"HTTP/1.1 400 Bad Request\r\n\r\n", "-ERR unknown command\r\n", "AMQP\x00\x00\x09\x01"} {
		addr := stranger(t, answer)
		for _, mode := range []string{"sslmode=disable", "sslmode=require", ""} {
			refusedEarly(t, at(addr, mode), bloodbank.CodeInvalid, "not PostgreSQL", addr, "BB_STORE")
		}
	}
	// Who hangs up may be a proxy whose server is down.
	hangsUp := stranger(t, "")
	refused(t, Probe(t.Context(), Options{URL: at(hangsUp, "sslmode=disable")}), bloodbank.CodeUnavailable, hangsUp)
	refused(t, Probe(t.Context(), Options{URL: "postgres://bb:hunter2@127.0.0.1:1/x"}), bloodbank.CodeUnavailable, "127.0.0.1:1", "BB_STORE")
	refused(t, Probe(t.Context(), Options{URL: "postgres://bb:hunter2@no-such-host.invalid/x"}), bloodbank.CodeUnavailable, "no-such-host.invalid", "BB_STORE")
	refused(t, Probe(t.Context(), Options{URL: "events.db"}), bloodbank.CodeInvalid, "BB_STORE")
}
