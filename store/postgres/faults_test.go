package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/internal/testenv"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/storetest"
)

// refused fails unless err has the code and its message holds the words, and no
// password.
func refused(t *testing.T, err error, code bloodbank.Code, words ...string) {
	t.Helper()
	if bloodbank.CodeOf(err) != code {
		t.Fatalf("got %q (%v), want %q", bloodbank.CodeOf(err), err, code)
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		for _, secret := range []string{"bb-secret", "hunter2"} {
			if strings.Contains(fmt.Sprintf("%v %+v", e, e), secret) {
				t.Fatalf("a password is in %q", e)
			}
		}
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Fatalf("the message %q does not hold %q", err, word)
		}
	}
}

// exec runs SQL in the schema of the store.
func (s *Store) exec(ctx context.Context, sql string) error {
	return s.call(ctx, "test", func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.PgConn().Exec(ctx, sql).ReadAll()
		return err
	})
}

func mustExec(t *testing.T, s *Store, sql string) {
	t.Helper()
	if err := s.exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func remember(want map[bloodbank.EventID][]byte, events []store.Incoming) []store.Incoming {
	for _, e := range events {
		want[e.Envelope.EventID] = e.Raw
	}
	return events
}

// What the server reports in the middle of a batch: nothing of the batch stays,
// and the store goes on as soon as it can.
func TestFaultsInABatch(t *testing.T) {
	t.Parallel()
	for sqlstate, want := range map[string]struct {
		code bloodbank.Code
		word string
	}{
		"53100": {bloodbank.CodeStorageFull, "make room"},
		"58030": {bloodbank.CodeUnavailable, "try again"},
		"57014": {bloodbank.CodeTimeout, "statement_timeout"},
		"40P01": {bloodbank.CodeUnavailable, "try again"},
		"25006": {bloodbank.CodeUnavailable, "primary"},
		"XX001": {bloodbank.CodeUnavailable, "damaged"},
		"54000": {bloodbank.CodeTooLarge, "larger"},
		"22000": {bloodbank.CodeInternal, "unexpected"},
	} {
		t.Run(sqlstate, func(t *testing.T) {
			t.Parallel()
			s := openTest(t, Options{})
			all := map[bloodbank.EventID][]byte{}
			mustStore(t, s, remember(all, samples(t, 0, 5)))
			mustExec(t, s, `CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				RAISE EXCEPTION 'staged' USING ERRCODE = '`+sqlstate+`'; END $$;
				CREATE TRIGGER fail BEFORE INSERT ON edges FOR EACH ROW EXECUTE FUNCTION fail()`)
			batch := samples(t, 5, 20)
			for range 2 {
				_, err := s.Append(t.Context(), store.Batch{Events: batch})
				refused(t, err, want.code, want.word, s.place)
				storetest.CheckStore(t, s, all)
			}
			mustExec(t, s, "DROP TRIGGER fail ON edges")
			mustStore(t, s, remember(all, batch))
			storetest.CheckStore(t, s, all)
		})
	}
}

// Another process holds the lock: the server's own limits end the wait, or ours.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	server := testenv.Postgres(t)
	holder := openTest(t, Options{URL: server.URL()})
	for name, c := range map[string]struct {
		url     string
		timeout time.Duration
		word    string
	}{
		"statement_timeout": {with(t, server.URL(), "", "", "", "statement_timeout", "2000"), 0, "statement_timeout"},
		"lock_timeout":      {with(t, server.URL(), "", "", "", "lock_timeout", "500"), 0, "lock_timeout"},
		"ours":              {server.URL(), 2 * time.Second, "does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			s := openTest(t, Options{URL: c.url, Timeout: c.timeout})
			batch := samples(t, 0, 5)
			mustStore(t, s, samples(t, 0, 1))
			err := holder.call(t.Context(), "test", func(ctx context.Context, conn *pgx.Conn) error {
				return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
					if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(1111647606, 'events'::regclass::oid::integer)"); err != nil {
						return err
					}
					_, err := s.Append(ctx, store.Batch{Events: batch})
					refused(t, err, bloodbank.CodeTimeout, c.word, s.place)
					return nil
				})
			})
			if err != nil {
				t.Fatal(err)
			}
			mustStore(t, s, batch)
		})
	}
}

// A process that stops for good between two statements of a transaction, with
// the lock of all who append: the server ends it, and the others go on.
func TestStoppedInATransaction(t *testing.T) {
	t.Parallel()
	server := testenv.Postgres(t)
	other := openTest(t, Options{URL: server.URL()})
	stopped := openTest(t, Options{URL: with(t, server.URL(), "", "", "", "idle_in_transaction_session_timeout", "500")})
	batch := samples(t, 0, 5)
	_, err := stopped.attempt(t.Context(), stopped.opts.Timeout, func(ctx context.Context, conn *pgx.Conn) error {
		tx, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(1111647606, 'events'::regclass::oid::integer)"); err != nil {
			return err
		}
		mustStore(t, other, batch)
		if err := tx.Commit(ctx); err == nil {
			t.Error("the transaction was not ended")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var own string
	err = other.call(t.Context(), "test", func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, "SELECT current_setting('idle_in_transaction_session_timeout')").Scan(&own)
	})
	if err != nil || own != "1min" {
		t.Fatalf("by default it is %s, %v", own, err)
	}
	mustStore(t, stopped, samples(t, 5, 5))
}

func TestRestartAndKill(t *testing.T) {
	t.Parallel()
	server := testenv.PrivatePostgres(t)
	s := openTest(t, Options{URL: server.URL()})
	all := map[bloodbank.EventID][]byte{}
	mustStore(t, s, remember(all, samples(t, 0, 50)))
	for _, way := range []func(){server.Restart, func() { server.Kill(); server.Start() }} {
		var wg sync.WaitGroup // so that several connections are open, and stale afterwards
		for range 4 {
			wg.Go(func() { storetest.ReadAll(t, s) })
		}
		wg.Wait()
		way()
		// The very next call works, whatever it is.
		mustStore(t, s, remember(all, samples(t, 50, 50)))
		storetest.CheckStore(t, s, all)
	}
	server.Stop()
	_, err := s.Append(t.Context(), store.Batch{Events: samples(t, 0, 1)})
	refused(t, err, bloodbank.CodeUnavailable, server.Addr(), "start it")
	_, err = s.Query(t.Context(), store.Query{})
	refused(t, err, bloodbank.CodeUnavailable, server.Addr())
	refused(t, s.Check(t.Context()), bloodbank.CodeUnavailable, server.Addr())
	server.Start()
	storetest.CheckStore(t, s, all)
}

// The server dies again and again while batches are written: what was promised
// is there once, and so is what the next attempt was told to be a duplicate.
func TestKilledWhileAppending(t *testing.T) {
	t.Parallel()
	server := testenv.PrivatePostgres(t)
	s := openTest(t, Options{URL: server.URL()})
	all := map[bloodbank.EventID][]byte{}
	ctx, cancel := context.WithCancel(t.Context())
	progress, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			batch := remember(all, samples(t, i*20, 20))
			// As the recorder does: the same batch until it is stored.
			for {
				_, err := s.Append(t.Context(), store.Batch{Events: batch})
				if err == nil {
					break
				}
				if code := bloodbank.CodeOf(err); code != bloodbank.CodeUnavailable && code != bloodbank.CodeTimeout {
					t.Errorf("%q: %v", code, err)
					return
				}
			}
			select {
			case progress <- struct{}{}:
			case <-ctx.Done():
			}
		}
	}()
	for round := range 4 {
		for range 5 + round {
			select {
			case <-progress:
			case <-done:
				t.Fatal("the writer gave up")
			}
		}
		// It goes on writing while this happens.
		back := make(chan struct{})
		go func() {
			defer close(back)
			server.Kill()
			server.Start()
		}()
		for up := false; !up; {
			select {
			case <-progress:
			case <-back:
				up = true
			}
		}
	}
	cancel()
	<-done
	storetest.CheckStore(t, s, all)
}

// A frozen server costs the time allowed, no more, and the store closes.
func TestFrozen(t *testing.T) {
	t.Parallel()
	server := testenv.PrivatePostgres(t)
	s := openTest(t, Options{URL: server.URL(), Timeout: 3 * time.Second})
	other := openTest(t, Options{URL: server.URL()})
	all := map[bloodbank.EventID][]byte{}
	mustStore(t, s, remember(all, samples(t, 0, 20)))
	storetest.CheckStore(t, other, all)
	server.Freeze()
	begin := time.Now()
	batch := samples(t, 20, 20)
	_, err := s.Append(t.Context(), store.Batch{Events: batch})
	refused(t, err, bloodbank.CodeTimeout, server.Addr())
	_, err = s.After(t.Context(), 0, 10)
	refused(t, err, bloodbank.CodeTimeout, server.Addr())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err = other.After(ctx, 0, 10); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 40*time.Second {
		t.Fatalf("it took %s", took)
	}
	server.Thaw()
	mustStore(t, s, remember(all, batch))
	storetest.CheckStore(t, s, all)
}

// An administrator drops the schema to build it anew by replay, while others run
// that remember numbers of names from before.
func TestSchemaMadeAnew(t *testing.T) {
	t.Parallel()
	a := openTest(t, Options{})
	b := openTest(t, Options{URL: a.opts.URL})
	mustStore(t, a, samples(t, 0, 200))
	mustStore(t, b, samples(t, 0, 200))
	mustExec(t, a, "DROP SCHEMA bloodbank CASCADE")
	all := map[bloodbank.EventID][]byte{}
	mustStore(t, b, remember(all, samples(t, 5000, 200))) // finds no tables
	mustStore(t, a, remember(all, samples(t, 0, 200)))    // finds other tables
	storetest.CheckStore(t, a, all)
	c := openTest(t, Options{URL: a.opts.URL})
	for i, want := range map[int]int{0: 50, 3: 50, 100: 50, 4: 0} {
		f, err := store.ParseFilter(fmt.Sprintf("session:session-%d", i), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*Store{a, b, c} {
			if got := storetest.AllPages(t, s, store.Query{Filter: f}); len(got) != want {
				t.Errorf("session-%d: %d events, want %d", i, len(got), want)
			}
		}
	}
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{MaxWaiting: 2})
	for range writers {
		<-s.turns // the writers are busy
	}
	s.waiting.Add(writers)
	batch := samples(t, 0, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 8)
	for range 3 {
		go func() {
			_, err := s.Append(ctx, store.Batch{Events: batch})
			done <- err
		}()
	}
	refused(t, <-done, bloodbank.CodeOverloaded, s.place, "try again")
	cancel()
	for range 2 {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	s.waiting.Add(-writers)
	for range writers {
		s.turns <- struct{}{}
	}
	mustStore(t, s, batch)
}

func TestClosed(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{})
	for range writers {
		<-s.turns
	}
	done := make(chan error, 1)
	go func() {
		_, err := s.Append(t.Context(), store.Batch{Events: samples(t, 0, 1)})
		done <- err
	}()
	for s.waiting.Load() == 0 {
		if t.Context().Err() != nil {
			t.Fatal("nobody waits")
		}
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err == nil {
		t.Fatal("an append that waited while the store was closed claims success")
	}
	_, err := s.Last(t.Context())
	refused(t, err, bloodbank.CodeUnavailable, s.place, "closed")
	_, err = s.Append(t.Context(), store.Batch{})
	refused(t, err, bloodbank.CodeUnavailable, s.place, "closed")
}
