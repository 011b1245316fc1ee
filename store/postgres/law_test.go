package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/33god/bloodbank/internal/testenv"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlfilter"
	"github.com/33god/bloodbank/store/storetest"
)

// childURL tells the test binary to be a process that appends.
const childURL = "BB_TEST_POSTGRES_CHILD"

// child is a process that appends and prints the ids that it was promised.
type child struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	got   map[string]bool
}

func startChild(t *testing.T, url string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0], "-test.run=^TestProcesses$"), got: map[string]bool{}}
	c.cmd.Env = append(os.Environ(), childURL+"="+url)
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.lines = bufio.NewScanner(out)
	return c
}

// read waits for n more ids.
func (c *child) read(n int) bool {
	for ; n > 0 && c.lines.Scan(); n-- {
		c.got[c.lines.Text()] = true
	}
	return n == 0
}

// kill ends it in the middle of something, and takes what it had said before.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	for c.lines.Scan() {
		c.got[c.lines.Text()] = true
	}
	_ = c.cmd.Wait() // it was killed
}

func (c *child) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

func appendForEver(t *testing.T, url string) {
	t.Helper()
	s, err := Open(t.Context(), Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewWriter(os.Stdout)
	for i := 0; ; i++ {
		events := samples(t, i*20, 1+i%20)
		if _, err := s.Append(t.Context(), store.Batch{Events: events}); err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			fmt.Fprintln(out, e.Envelope.EventID)
		}
		if err := out.Flush(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestProcesses lets several processes append, of which one is killed and one
// is frozen: the frozen one stops nobody, a follower misses nothing, and what
// was promised is there.
func TestProcesses(t *testing.T) {
	if url := os.Getenv(childURL); url != "" {
		appendForEver(t, url)
	}
	t.Parallel()
	url := testenv.Postgres(t).URL()
	s := openTest(t, Options{URL: url})
	f := follow(t, s)
	children := []*child{startChild(t, url), startChild(t, url), startChild(t, url)}
	for round := range 4 {
		for i, c := range children {
			if !c.read(60) {
				t.Fatalf("child %d ended early", i)
			}
		}
		frozen := children[round%3]
		frozen.signal(t, syscall.SIGSTOP)
		// More than the pipe could hold back: the others do go on.
		for i, c := range children {
			if c != frozen && !c.read(400) {
				t.Fatalf("child %d does not go on while another is frozen", i)
			}
		}
		frozen.signal(t, syscall.SIGCONT)
		victim := (round + 1) % 3
		children[victim].kill()
		for id := range children[victim].got {
			f.want(id)
		}
		children[victim] = startChild(t, url)
	}
	for _, c := range children {
		c.kill()
		for id := range c.got {
			f.want(id)
		}
	}
	f.finish()
}

// follower reads a store by sequence while others append to it.
type follower struct {
	t      *testing.T
	store  *Store
	cancel context.CancelFunc
	done   chan struct{}
	seen   []store.Event
	err    error
	wanted []string
}

func follow(t *testing.T, s *Store) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &follower{t: t, store: s, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(f.done)
		for ctx.Err() == nil && f.err == nil {
			f.err = f.step(ctx)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-f.done
	})
	return f
}

func (f *follower) step(ctx context.Context) error {
	last := int64(0)
	if n := len(f.seen); n > 0 {
		last = f.seen[n-1].Sequence
	}
	events, err := f.store.After(ctx, last, 7)
	f.seen = append(f.seen, events...)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// want says that an event must have been seen in the end.
func (f *follower) want(id string) { f.wanted = append(f.wanted, id) }

// finish reads on to the end and compares with all that is there.
func (f *follower) finish() {
	f.t.Helper()
	f.cancel()
	<-f.done
	// The server may still finish what a killed process had asked of it.
	var all []store.Event
	testenv.Eventually(f.t, "the follower is at the end", func() bool {
		for before := -1; before < len(f.seen) && f.err == nil; {
			before = len(f.seen)
			f.err = f.step(f.t.Context())
		}
		all = storetest.ReadAll(f.t, f.store)
		return f.err != nil || len(f.seen) == 0 || all[len(all)-1].Sequence <= f.seen[len(f.seen)-1].Sequence
	})
	if f.err != nil {
		f.t.Fatal(f.err)
	}
	if !slices.EqualFunc(f.seen, all, func(a, b store.Event) bool { return a.Sequence == b.Sequence }) {
		f.t.Fatalf("the follower saw %d events of %d, or others", len(f.seen), len(all))
	}
	found := map[string]bool{}
	for _, e := range all {
		found[e.Envelope.EventID.String()] = true
	}
	for _, id := range f.wanted {
		if !found[id] {
			f.t.Fatalf("%s was promised and is lost", id)
		}
	}
	if len(f.wanted) == 0 || len(found) != len(all) {
		f.t.Fatalf("%d promised, %d events, %d different", len(f.wanted), len(all), len(found))
	}
}

// appendAtOnce lets several stores on one database append batches, each of them
// twice, and tells the follower.
func appendAtOnce(t *testing.T, f *follower, url string, batches int) {
	t.Helper()
	var wg sync.WaitGroup
	var stores []*Store
	for range 3 {
		stores = append(stores, openTest(t, Options{URL: url}))
	}
	errs := make([]error, 6)
	all := make([][][]store.Incoming, 6)
	for w := range all {
		for i := range batches {
			all[w] = append(all[w], samples(t, (w*batches+i)*10, 1+(i+w)%9))
		}
	}
	for w := range all {
		wg.Go(func() {
			for _, batch := range all[w] {
				for range 2 {
					_, err := stores[w%3].Append(t.Context(), store.Batch{Events: batch})
					errs[w] = errors.Join(errs[w], err)
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, e := range slices.Concat(slices.Concat(all...)...) {
		f.want(e.Envelope.EventID.String())
	}
}

// TestFollowersMissNothing is the law of After: nothing is ever committed below a
// sequence that was seen, although several stores append at once.
func TestFollowersMissNothing(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t).URL()
	a, b := follow(t, openTest(t, Options{URL: url})), follow(t, openTest(t, Options{URL: url}))
	appendAtOnce(t, a, url, 60)
	b.wanted = a.wanted
	a.finish()
	b.finish()
}

// The same where each commit takes its time, which is when a store without that
// law shows a later sequence before an earlier one. (Take the lock out of
// append_batch, and this fails at once.)
func TestFollowersMissNothingWhileCommitsAreSlow(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t).URL()
	s := openTest(t, Options{URL: url})
	mustExec(t, s, `CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		PERFORM pg_sleep(0.004 * random()); RETURN NULL; END $$;
		CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION linger()`)
	var followers []*follower
	for range 3 {
		followers = append(followers, follow(t, openTest(t, Options{URL: url})))
	}
	appendAtOnce(t, followers[0], url, 25)
	for _, f := range followers {
		f.wanted = followers[0].wanted
		f.finish()
	}
}

// TestTheSecondWaits shows how: what is begun later cannot be committed before.
func TestTheSecondWaits(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{})
	other := openTest(t, Options{URL: s.opts.URL})
	first, second := samples(t, 0, 3), samples(t, 3, 3)
	done := make(chan error, 1)
	err := s.call(t.Context(), "test", func(ctx context.Context, c *pgx.Conn) error {
		return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			rows, err := rowsOf(first)
			if err != nil {
				return err
			}
			dictionary, err := s.names.intern(ctx, c, map[sqlfilter.Name]int64{})
			if err != nil {
				return err
			}
			if err := appendPart(ctx, tx.Conn(), dictionary, rows, nil, first[0].Envelope.Timestamp, &store.Appended{}); err != nil {
				return err
			}
			go func() {
				_, err := other.Append(t.Context(), store.Batch{Events: second})
				done <- err
			}()
			for waiting := 0; waiting == 0; {
				if err := tx.QueryRow(ctx, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())").Scan(&waiting); err != nil {
					return err
				}
			}
			if last, err := other.Last(ctx); err != nil || last != 0 {
				t.Errorf("sequence %d is visible while 1 is not, %v", last, err)
			}
			return nil
		})
	})
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	all := storetest.ReadAll(t, s)
	for i, e := range append(first, second...) {
		if len(all) != 6 || all[i].Sequence != int64(i+1) || all[i].Envelope.EventID != e.Envelope.EventID {
			t.Fatalf("event %d of %d is %+v", i, len(all), all[i])
		}
	}
}
