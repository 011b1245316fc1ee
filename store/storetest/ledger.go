package storetest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/33god/bloodbank/store"
)

// LedgerSubject is a store whose database can be tampered with.
type LedgerSubject struct {
	Store interface {
		store.Store
		store.Ledger
	}
	// Other opens the same database once more, as another process would.
	Other func() store.Store
	// Exec runs SQL on the database, past the store.
	Exec func(sql string)
	// Forge is the SQL that inserts an event with sequence 100000, not through the
	// store.
	Forge string
	// Downgrade is the SQL that makes the database one without a ledger; Reopen
	// then opens it anew.
	Downgrade []string
	Reopen    func() interface {
		store.Store
		store.Ledger
	}
}

// RunLedger runs what a store.Ledger must pass.
func RunLedger(t *testing.T, open func(t *testing.T) LedgerSubject) {
	t.Helper()
	for name, test := range map[string]func(t *testing.T, s LedgerSubject){
		"an empty ledger":               testLedgerEmpty,
		"whatever was appended":         testLedgerWhole,
		"several writers, one chain":    testLedgerWriters,
		"what was tampered with":        testLedgerTampered,
		"a ledger that was written":     testLedgerRewritten,
		"from a sequence on":            testLedgerFrom,
		"a store older than its ledger": testLedgerOld,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func verify(t *testing.T, l store.Ledger, o store.VerifyOptions) store.LedgerReport {
	t.Helper()
	report, err := store.VerifyLedger(t.Context(), l, o)
	if err != nil {
		t.Fatal(err)
	}
	if report.OK != (report.FaultCount == 0) || int(report.FaultCount) < len(report.Faults) {
		t.Fatalf("%+v", report)
	}
	return report
}

// intact demands a ledger without a fault.
func intact(t *testing.T, l store.Ledger, events int) store.LedgerReport {
	t.Helper()
	report := verify(t, l, store.VerifyOptions{})
	if !report.OK || report.Events != int64(events) {
		t.Fatalf("want %d events and no fault: %+v", events, report)
	}
	return report
}

func testLedgerEmpty(t *testing.T, s LedgerSubject) {
	report := intact(t, s.Store, 0)
	if report.Head != (store.LedgerHead{Link: store.LedgerOrigin(0)}) || report.Start.After != 0 {
		t.Fatalf("%+v", report)
	}
	if _, err := s.Store.Append(t.Context(), store.Batch{}); err != nil {
		t.Fatal(err)
	}
	intact(t, s.Store, 0)
}

func testLedgerWhole(t *testing.T, s LedgerSubject) {
	all := Samples(t, 0, 700)
	Put(t, s.Store, all[:1])
	Put(t, s.Store, all[:40])   // one of them is there already
	Put(t, s.Store, all[20:30]) // all of them
	Put(t, s.Store, append(all[39:41:41], all[40]))
	Put(t, s.Store, all)
	report := intact(t, s.Store, 700)
	last, err := s.Store.Last(t.Context())
	if err != nil || report.Head.Sequence != last {
		t.Fatalf("the head is %+v, the newest event %d, %v", report.Head, last, err)
	}
	// The chain follows from the events alone.
	link := store.LedgerOrigin(0)
	for _, e := range ReadAll(t, s.Store) {
		entry := store.Entry{Sequence: e.Sequence, ID: e.Envelope.EventID, Digest: sha256.Sum256(e.Raw)}
		link = entry.Follow(link)
	}
	if link != report.Head.Link {
		t.Fatalf("the events give the link %s, the ledger says %s", link, report.Head.Link)
	}
	steps := 0
	report = verify(t, s.Store, store.VerifyOptions{Expect: &report.Head, Progress: func(int64) { steps++ }})
	if !report.OK || steps == 0 {
		t.Fatalf("%d steps, %+v", steps, report)
	}
}

// Two stores on one database, each with several callers: one linear chain.
func testLedgerWriters(t *testing.T, s LedgerSubject) {
	stores := []store.Store{s.Store, s.Other()}
	const each, size = 6, 25
	var batches [][]store.Incoming
	for i := range 2 * len(stores) * each {
		batches = append(batches, Samples(t, i*size, size))
	}
	errs := make([]error, 2*len(stores))
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			for i := range each {
				// Every other batch is sent by two writers at once.
				batch := batches[w*each+i]
				if i%2 == 1 {
					batch = batches[(w/2*2)*each+i]
				}
				_, err := stores[w%len(stores)].Append(t.Context(), store.Batch{Events: batch})
				errs[w] = errors.Join(errs[w], err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	intact(t, s.Store, size*each*len(errs)*3/4)
}

func testLedgerTampered(t *testing.T, s LedgerSubject) {
	Put(t, s.Store, Samples(t, 0, 60))
	head := intact(t, s.Store, 60).Head
	swap := func(a, b int) {
		for _, step := range [][2]int{{a, 900000}, {b, a}, {900000, b}} {
			s.Exec(fmt.Sprintf("UPDATE events SET sequence = %d WHERE sequence = %d", step[1], step[0]))
		}
	}
	s.Exec("UPDATE events SET raw = (SELECT raw FROM events WHERE sequence = 5) WHERE sequence = 4")
	swap(10, 12)
	s.Exec("DELETE FROM events WHERE sequence = 20")
	s.Exec(s.Forge)
	report := verify(t, s.Store, store.VerifyOptions{Expect: &head})
	same(t, report.Faults, fault(store.FaultChanged, 4), fault(store.FaultReordered, 10), fault(store.FaultReordered, 12),
		fault(store.FaultRemoved, 20), fault(store.FaultInserted, 100000))
	if report.Faults[0].EventID == nil || report.Faults[0].Detail == "" || report.Head != head {
		t.Fatalf("%+v", report)
	}
	// In the midst of the ledger an event without an entry is found as well.
	swap(100000, 20)
	same(t, verify(t, s.Store, store.VerifyOptions{}).Faults, fault(store.FaultChanged, 4), fault(store.FaultReordered, 10),
		fault(store.FaultReordered, 12), fault(store.FaultReordered, 20))
}

// Who changes the ledger as well is found by the links, or by the head that was
// noted.
func testLedgerRewritten(t *testing.T, s LedgerSubject) {
	for i := range 6 {
		Put(t, s.Store, Samples(t, 10*i, 10))
	}
	head := intact(t, s.Store, 60).Head
	s.Exec("UPDATE ledger SET before = (SELECT before FROM ledger WHERE last = 10) WHERE last = 20")
	report := verify(t, s.Store, store.VerifyOptions{})
	same(t, report.Faults[:2], fault(store.FaultLedger, 11), fault(store.FaultLedger, 11))
	s.Exec("DELETE FROM ledger WHERE last = 20")
	s.Exec("DELETE FROM events WHERE sequence BETWEEN 11 AND 20")
	same(t, verify(t, s.Store, store.VerifyOptions{}).Faults, fault(store.FaultLedger, 21))
	// The end is cut off together with its events: nothing inside tells.
	s.Exec("DELETE FROM ledger WHERE last <> 10")
	s.Exec("DELETE FROM events WHERE sequence > 10")
	if report := intact(t, s.Store, 10); report.Head.Sequence != 10 {
		t.Fatalf("%+v", report)
	}
	same(t, verify(t, s.Store, store.VerifyOptions{Expect: &head}).Faults, fault(store.FaultExpected, 60))
	wrong := store.LedgerHead{Sequence: 10, Link: head.Link}
	same(t, verify(t, s.Store, store.VerifyOptions{Expect: &wrong}).Faults, fault(store.FaultExpected, 10))
}

func testLedgerFrom(t *testing.T, s LedgerSubject) {
	for i := range 6 {
		Put(t, s.Store, Samples(t, 10*i, 10))
	}
	s.Exec("DELETE FROM events WHERE sequence IN (4, 35)")
	report := verify(t, s.Store, store.VerifyOptions{From: 25})
	if report.From != 21 || report.Events != 40 {
		t.Fatalf("%+v", report)
	}
	same(t, report.Faults, fault(store.FaultRemoved, 35))
	if report := verify(t, s.Store, store.VerifyOptions{From: 900}); !report.OK || report.Events != 0 {
		t.Fatalf("%+v", report)
	}
}

func testLedgerOld(t *testing.T, s LedgerSubject) {
	Put(t, s.Store, Samples(t, 0, 30))
	for _, sql := range s.Downgrade {
		s.Exec(sql)
	}
	reopened := s.Reopen()
	Put(t, reopened, Samples(t, 30, 5))
	report := intact(t, reopened, 5)
	if report.Start.After != 30 || report.Start.Events != 30 || report.Start.Bytes == 0 || report.Start.At.IsZero() || report.From != 31 {
		t.Fatalf("%+v", report)
	}
	// What is older is not in it.
	s.Exec("DELETE FROM events WHERE sequence = 7")
	intact(t, reopened, 5)
	s.Exec("DELETE FROM events WHERE sequence = 33")
	same(t, verify(t, reopened, store.VerifyOptions{}).Faults, fault(store.FaultRemoved, 33))
}

func fault(kind store.FaultKind, sequence int64) store.LedgerFault {
	return store.LedgerFault{Kind: kind, Sequence: sequence}
}

func same(t *testing.T, got []store.LedgerFault, want ...store.LedgerFault) {
	t.Helper()
	ok := len(got) == len(want)
	for i := 0; ok && i < len(got); i++ {
		ok = got[i].Kind == want[i].Kind && got[i].Sequence == want[i].Sequence
	}
	if !ok {
		t.Fatalf("found\n%+v\nwant\n%+v", got, want)
	}
}
