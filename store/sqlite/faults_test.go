package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/storetest"
)

// refused fails unless err has the code and names the path.
func refused(t *testing.T, err error, code bloodbank.Code, path, word string) {
	t.Helper()
	if bloodbank.CodeOf(err) != code {
		t.Fatalf("got %q (%v), want %q", bloodbank.CodeOf(err), err, code)
	}
	if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), word) {
		t.Fatalf("the message %q does not hold %q and %q", err, path, word)
	}
}

func mustAppend(t *testing.T, s *Store, events []store.Incoming, want map[bloodbank.EventID][]byte) {
	t.Helper()
	if _, err := s.Append(t.Context(), store.Batch{Events: events}); err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		want[e.Envelope.EventID] = e.Raw
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	base := func(name, text string) string {
		path := filepath.Join(dir, name)
		c, err := connect(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.run(text), c.close()); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := write("file", "x")
	for name, c := range map[string]struct {
		opts Options
		code bloodbank.Code
		word string
	}{
		"no path":                 {Options{}, bloodbank.CodeInvalid, "no path"},
		"a folder":                {Options{Path: dir}, bloodbank.CodeInvalid, "is a folder"},
		"a file in the way":       {Options{Path: filepath.Join(file, "x", "events.db")}, bloodbank.CodeInvalid, "not a folder"},
		"no database":             {Options{Path: write("text", strings.Repeat("not a database ", 1000))}, bloodbank.CodeInvalid, "not a SQLite database"},
		"no database, read-only":  {Options{Path: write("text2", strings.Repeat("not a database ", 1000)), ReadOnly: true}, bloodbank.CodeInvalid, "not a SQLite database"},
		"of another program":      {Options{Path: base("other", "CREATE TABLE t (x)")}, bloodbank.CodeInvalid, "another program"},
		"of another id":           {Options{Path: base("id", "PRAGMA application_id = 7")}, bloodbank.CodeInvalid, "another program"},
		"newer":                   {Options{Path: base("newer", "PRAGMA application_id = 1111647606; PRAGMA user_version = 999; CREATE TABLE t (x)")}, bloodbank.CodeInvalid, "update bb"},
		"read-only, not there":    {Options{Path: filepath.Join(dir, "missing.db"), ReadOnly: true}, bloodbank.CodeNotFound, "open it once for writing"},
		"read-only, of no schema": {Options{Path: base("older", "PRAGMA application_id = 1111647606; CREATE TABLE t (x)"), ReadOnly: true}, bloodbank.CodeInvalid, "older"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Open(t.Context(), c.opts)
			if err == nil {
				t.Fatal(errors.Join(errors.New("it opened"), s.Close()))
			}
			refused(t, err, c.code, c.opts.Path, c.word)
		})
	}
}

// A file of another program is left as it was found.
func TestOpenLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "other.db")
	c, err := connect(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.run("CREATE TABLE t (x); INSERT INTO t VALUES (1)"), c.close()); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)
	if _, err := Open(t.Context(), Options{Path: path}); err == nil {
		t.Fatal("it opened")
	}
	after, err := os.ReadFile(path)
	if err != nil || string(before) != string(after) || len(after) == 0 {
		t.Fatalf("the file has changed: %v", err)
	}
}

func TestFileIsPrivate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "events.db")
	openTest(t, Options{Path: path})
	for _, name := range []string{path, path + "-wal"} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// A full disk: the batch leaves nothing behind, what was there stays, and the
// store goes on as soon as there is room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{})
	want := map[bloodbank.EventID][]byte{}
	mustAppend(t, s, storetest.Samples(t, 0, 100), want)
	pages, err := s.writer.c.int("PRAGMA page_count")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.writer.c.int("PRAGMA max_page_count = " + millis(time.Duration(pages+10)*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	more := storetest.Samples(t, 100, 1000)
	for range 3 {
		_, err = s.Append(t.Context(), store.Batch{Events: more})
		refused(t, err, bloodbank.CodeStorageFull, s.opts.Path, "make room")
		storetest.CheckStore(t, s, want)
	}
	if _, err := s.writer.c.int("PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, more, want)
	storetest.CheckStore(t, s, want)
	checkFile(t, s)
}

// checkFile asks SQLite to verify the file, and the search index against itself.
func checkFile(t *testing.T, s *Store) {
	t.Helper()
	var verdict string
	if err := s.readers.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Fatalf("%s, %v", verdict, err)
	}
}

func TestLockedByAnother(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{BusyTimeout: 30 * time.Millisecond})
	want := map[bloodbank.EventID][]byte{}
	other, err := connect(t.Context(), s.opts.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.close() })
	if err := other.run("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	batch := storetest.Samples(t, 0, 10)
	_, err = s.Append(t.Context(), store.Batch{Events: batch})
	refused(t, err, bloodbank.CodeUnavailable, s.opts.Path, "another process")
	refused(t, s.Check(t.Context()), bloodbank.CodeUnavailable, s.opts.Path, "another process")
	if err := other.run("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, batch, want)
	storetest.CheckStore(t, s, want)
}

// Two writers take turns; neither trusts what it remembers of the file.
func TestSecondWriter(t *testing.T) {
	t.Parallel()
	a := openTest(t, Options{})
	b := openTest(t, Options{Path: a.opts.Path})
	reader := openTest(t, Options{Path: a.opts.Path, ReadOnly: true})
	want := map[bloodbank.EventID][]byte{}
	for i := range 6 {
		events := storetest.Samples(t, i*50, 50)
		mustAppend(t, []*Store{a, b}[i%2], events, want)
		storetest.CheckStore(t, reader, want)
	}
	storetest.CheckStore(t, a, want)
	checkFile(t, b)
	_, err := reader.Append(t.Context(), store.Batch{})
	refused(t, err, bloodbank.CodeUnsupported, a.opts.Path, "reading only")
	refused(t, reader.Check(t.Context()), bloodbank.CodeUnsupported, a.opts.Path, "reading only")
}

func TestDamagedFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "events.db")
	s := openTest(t, Options{Path: path})
	mustAppend(t, s, storetest.Samples(t, 0, 500), map[bloodbank.EventID][]byte{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	// All but the head and the schema.
	if _, err = f.WriteAt([]byte(strings.Repeat("damage! ", int(info.Size()-3*pageSize)/8)), 3*pageSize); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = Open(t.Context(), Options{Path: path})
	if err == nil {
		_, err = s.After(t.Context(), 0, 500)
		if closed := s.Close(); closed != nil {
			t.Log(closed)
		}
	}
	refused(t, err, bloodbank.CodeUnavailable, path, "damaged")
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{MaxWaiting: 2})
	<-s.writer.turn // the writer is busy
	batch := storetest.Samples(t, 0, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 8)
	for range 4 {
		go func() {
			_, err := s.Append(ctx, store.Batch{Events: batch})
			done <- err
		}()
	}
	// One counts as the one at work, two may wait, the fourth is refused.
	refused(t, <-done, bloodbank.CodeOverloaded, s.opts.Path, "try again")
	cancel()
	for range 3 {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	s.writer.turn <- struct{}{}
	mustAppend(t, s, batch, map[bloodbank.EventID][]byte{})
}

func TestClosed(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{})
	<-s.writer.turn
	done := make(chan error, 1)
	go func() {
		_, err := s.Append(t.Context(), store.Batch{Events: storetest.Samples(t, 0, 1)})
		done <- err
	}()
	for s.writer.waiting.Load() == 0 {
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
	refused(t, err, bloodbank.CodeUnavailable, s.opts.Path, "closed")
	_, err = s.Append(t.Context(), store.Batch{})
	refused(t, err, bloodbank.CodeUnavailable, s.opts.Path, "closed")
}

// A connection that cannot be rolled back is replaced.
func TestBrokenConnection(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{})
	want := map[bloodbank.EventID][]byte{}
	mustAppend(t, s, storetest.Samples(t, 0, 10), want)
	err := s.writer.do(t.Context(), func() error { return errors.Join(errBroken, errors.New("staged")) })
	if err == nil || s.writer.c != nil {
		t.Fatalf("%v, %v", err, s.writer.c)
	}
	mustAppend(t, s, storetest.Samples(t, 10, 10), want)
	storetest.CheckStore(t, s, want)
}

// However many searches run, followers and look-ups go on.
func TestSearchesLeaveRoom(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{Readers: 2})
	want := map[bloodbank.EventID][]byte{}
	mustAppend(t, s, storetest.Samples(t, 0, 20), want)
	started, release := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- s.snapshot(t.Context(), "search", func(ctx context.Context, tx *sql.Tx) error {
			close(started)
			<-release
			return ctx.Err()
		})
	}()
	<-started
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Query(ctx, store.Query{}); bloodbank.CodeOf(err) != bloodbank.CodeTimeout {
		t.Fatalf("a search beyond the limit: %v", err)
	}
	if events, err := s.After(t.Context(), 0, 100); err != nil || len(events) != 20 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	storetest.CheckStore(t, s, want)
}

// Closing ends a search that would take long.
func TestCloseEndsSearches(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{})
	started, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- s.snapshot(t.Context(), "search", func(ctx context.Context, tx *sql.Tx) error {
			close(started)
			var n int64
			return tx.QueryRowContext(ctx, "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n").Scan(&n)
		})
	}()
	<-started
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; bloodbank.CodeOf(err) != bloodbank.CodeTimeout {
		t.Fatalf("an endless search ended with %v", err)
	}
}
