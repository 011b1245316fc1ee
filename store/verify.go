package store

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/33god/bloodbank"
)

// FaultKind says what is wrong with an event or with the ledger.
type FaultKind string

// The kinds.
const (
	FaultChanged   FaultKind = "changed"   // its bytes are others than those that were stored
	FaultRemoved   FaultKind = "removed"   // it is gone, and retention did not remove it
	FaultInserted  FaultKind = "inserted"  // it is there, but was never stored by us
	FaultReordered FaultKind = "reordered" // another event has its place
	FaultLedger    FaultKind = "ledger"    // the ledger's own record of it was tampered with
	FaultRemoval   FaultKind = "removal"   // the record of a removal was tampered with; Sequence is its number
	FaultExpected  FaultKind = "expected"  // the link is another than the one noted earlier
)

// LedgerFault is one finding.
type LedgerFault struct {
	Kind     FaultKind          `json:"kind"`
	Sequence int64              `json:"sequence"`
	EventID  *bloodbank.EventID `json:"event_id,omitempty"`
	Detail   string             `json:"detail"`
}

// LedgerHead is the newest link: whoever notes it can prove later that nothing up
// to it was changed.
type LedgerHead struct {
	Sequence int64 `json:"sequence"`
	Link     Hash  `json:"link"`
}

// LedgerReport is the outcome of a verification.
type LedgerReport struct {
	OK bool `json:"ok"`
	// From is the first sequence looked at; the link before it is taken on trust
	// when it is not the ledger's beginning.
	From  int64       `json:"from"`
	Start LedgerStart `json:"start"`
	// Events counts entries of the ledger that were compared, Removed those of them
	// whose event retention has removed.
	Events  int64      `json:"events"`
	Removed int64      `json:"removed"`
	Head    LedgerHead `json:"head"`
	// Removals counts the records of removals, whose newest link is RemovalsLink.
	Removals     int64 `json:"removals"`
	RemovalsLink Hash  `json:"removals_link"`
	// Faults are the first MaxLedgerFaults of FaultCount.
	Faults     []LedgerFault `json:"faults"`
	FaultCount int64         `json:"fault_count"`
}

// MaxLedgerFaults is how many faults a report lists.
const MaxLedgerFaults = 100

// VerifyOptions says what to verify.
type VerifyOptions struct {
	// From is the first sequence, 0 for the ledger's beginning. It is rounded down
	// to the begin of its batch.
	From int64
	// Expect is a head that an earlier verification printed.
	Expect *LedgerHead
	// Progress is called now and then with the sequence reached; nil for nobody.
	Progress func(sequence int64)
}

// VerifyLedger reads the whole ledger and each event, and reports what does not
// agree. The error is of reading alone: a fault is no error.
func VerifyLedger(ctx context.Context, l Ledger, o VerifyOptions) (LedgerReport, error) {
	v := &verifier{ctx: ctx, ledger: l, o: o, report: LedgerReport{Faults: []LedgerFault{}}}
	err := v.run()
	v.report.OK = err == nil && v.report.FaultCount == 0
	return v.report, err
}

type verifier struct {
	ctx    context.Context
	ledger Ledger
	o      VerifyOptions
	report LedgerReport
	at     int64 // all up to this sequence is verified
	link   Hash
	// expected says that the sequence of o.Expect was met.
	expected bool
}

func (v *verifier) run() (err error) {
	r := &v.report
	if r.Start, err = v.ledger.LedgerStart(v.ctx); err != nil {
		return err
	}
	v.at, v.link = r.Start.After, LedgerOrigin(r.Start.After)
	trusted := v.o.From > r.Start.After+1
	if trusted {
		v.at = v.o.From - 1
	}
	r.From, r.Head = v.at+1, LedgerHead{v.at, v.link}
	for {
		pages, err := v.ledger.LedgerPages(v.ctx, v.at)
		if err != nil {
			return err
		}
		if len(pages) == 0 {
			more, err := v.end()
			if err != nil || !more {
				return err
			}
			continue
		}
		if trusted {
			v.link, v.at, r.From, trusted = pages[0].Before, pages[0].First-1, pages[0].First, false
		}
		for _, p := range pages {
			if err := v.page(p); err != nil {
				return err
			}
		}
		if v.o.Progress != nil {
			v.o.Progress(v.at)
		}
	}
}

func (v *verifier) fault(kind FaultKind, sequence int64, id *bloodbank.EventID, format string, args ...any) {
	v.report.FaultCount++
	if len(v.report.Faults) < MaxLedgerFaults {
		v.report.Faults = append(v.report.Faults, LedgerFault{kind, sequence, id, fmt.Sprintf(format, args...)})
	}
}

// end looks at what lies behind the last page. more says that a batch has come
// meanwhile.
func (v *verifier) end() (more bool, err error) {
	behind, err := v.ledger.Fingerprints(v.ctx, v.at+1, math.MaxInt64, MaxLedgerFaults)
	if err != nil {
		return false, err
	}
	if len(behind) > 0 {
		pages, err := v.ledger.LedgerPages(v.ctx, v.at)
		if err != nil || len(pages) > 0 {
			return true, err
		}
		for _, f := range behind {
			v.fault(FaultInserted, f.Sequence, &f.ID, "event %s lies behind the end of the ledger", f.ID)
		}
	}
	if e := v.o.Expect; e != nil && !v.expected && e.Sequence >= v.report.From {
		v.fault(FaultExpected, e.Sequence, nil, "the ledger has no entry with this sequence any more; it ends at %d", v.report.Head.Sequence)
	}
	return false, v.removals()
}

// page verifies the links of a page, then its events.
func (v *verifier) page(p LedgerPage) error {
	entries, whole := p.Entries()
	n := len(entries)
	if n == 0 || !whole || entries[0].Sequence != p.First || entries[n-1].Sequence != p.Last {
		v.fault(FaultLedger, p.First, nil, "the page of the ledger for the sequences %d to %d is damaged", p.First, p.Last)
	}
	if p.Before != v.link {
		v.fault(FaultLedger, p.First, nil, "the page of the ledger does not follow the one before it, which ends at %d: a page was changed, removed or inserted", v.report.Head.Sequence)
		v.link = p.Before
	}
	kept := entries[:0]
	for i := range entries {
		e := &entries[i]
		if e.Follow(v.link) != e.Link {
			v.fault(FaultLedger, e.Sequence, &e.ID, "the ledger's entry does not follow from the one before it: it was changed")
		}
		v.link = e.Link
		if e.Sequence <= v.at || len(kept) > 0 && e.Sequence <= kept[len(kept)-1].Sequence {
			v.fault(FaultLedger, e.Sequence, &e.ID, "the ledger's entry is out of order")
			continue
		}
		kept = append(kept, *e)
		if x := v.o.Expect; x != nil && x.Sequence == e.Sequence {
			v.expected = true
			if x.Link != e.Link {
				v.fault(FaultExpected, e.Sequence, &e.ID, "the link is %s, and was %s when it was noted: the ledger was written anew", e.Link, x.Link)
			}
		}
	}
	if err := v.events(kept, p.Last); err != nil {
		return err
	}
	v.at = max(v.at, p.Last)
	v.report.Head = LedgerHead{p.Last, v.link}
	return nil
}

// events compares the entries with what is stored between v.at and last.
func (v *verifier) events(entries []Entry, last int64) error {
	stored := &run{verifier: v, next: v.at + 1, last: last}
	var missing []Entry
	for i := range entries {
		e := &entries[i]
		v.report.Events++
		f, err := stored.upTo(e.Sequence)
		switch {
		case err != nil:
			return err
		case f == nil:
			missing = append(missing, *e)
		case f.ID != e.ID:
			v.fault(FaultReordered, e.Sequence, &e.ID, "here is event %s, where %s was stored", f.ID, e.ID)
		case f.Digest != e.Digest:
			v.fault(FaultChanged, e.Sequence, &e.ID, "the event's bytes have the SHA-256 %s, and had %s when it was stored", f.Digest, e.Digest)
		}
	}
	if _, err := stored.upTo(math.MaxInt64); err != nil {
		return err
	}
	return v.missing(missing)
}

// run walks over stored events from next to last, some at a time.
type run struct {
	*verifier
	next, last int64
	ahead      []Fingerprint
}

// upTo returns the event with this sequence, nil where there is none. Those that
// are passed have no entry.
func (r *run) upTo(sequence int64) (*Fingerprint, error) {
	const step = 1000
	for {
		if len(r.ahead) == 0 && r.next <= r.last {
			var err error
			if r.ahead, err = r.ledger.Fingerprints(r.ctx, r.next, r.last, step); err != nil {
				return nil, err
			}
			if len(r.ahead) == 0 {
				r.next = r.last + 1
			}
		}
		if len(r.ahead) == 0 || r.ahead[0].Sequence > sequence {
			return nil, nil
		}
		f := r.ahead[0]
		r.ahead, r.next = r.ahead[1:], f.Sequence+1
		if f.Sequence == sequence {
			return &f, nil
		}
		r.inserted(f)
	}
}

func (v *verifier) inserted(f Fingerprint) {
	v.fault(FaultInserted, f.Sequence, &f.ID, "event %s is in the store, but not in the ledger", f.ID)
}

// missing finds out which of the entries retention has removed.
func (v *verifier) missing(entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	removals, err := v.ledger.Removals(v.ctx, entries[0].Sequence, entries[len(entries)-1].Sequence)
	if err != nil {
		return err
	}
	for _, e := range entries {
		covered := false
		for i := range removals {
			covered = covered || removals[i].Covers(e.Sequence)
		}
		if covered {
			v.report.Removed++
		} else {
			v.fault(FaultRemoved, e.Sequence, &e.ID, "event %s was stored here, and is gone; retention did not remove it", e.ID)
		}
	}
	return nil
}

// removals verifies the chain of removals.
func (v *verifier) removals() error {
	var link Hash
	for after := int64(0); ; {
		part, err := v.ledger.RemovalLog(v.ctx, after, 500)
		if err != nil || len(part) == 0 {
			v.report.RemovalsLink = link
			return err
		}
		for i := range part {
			r := &part[i]
			if r.ID != after+1 {
				v.fault(FaultRemoval, after+1, nil, "the records of the removals %d to %d are gone", after+1, r.ID-1)
			} else if r.Follow(link) != r.Link {
				v.fault(FaultRemoval, r.ID, nil, "the record of this removal was changed")
			}
			link, after = r.Link, r.ID
			v.report.Removals++
		}
	}
}

// String writes the head as SEQUENCE:LINK.
func (h LedgerHead) String() string { return strconv.FormatInt(h.Sequence, 10) + ":" + h.Link.String() }

// ParseLedgerHead reads what String wrote.
func ParseLedgerHead(text string) (h LedgerHead, err error) {
	sequence, link, _ := strings.Cut(text, ":")
	if h.Sequence, err = strconv.ParseInt(sequence, 10, 64); err == nil {
		h.Link, err = ParseHash(link)
	}
	if err != nil {
		return h, bloodbank.Errorf(bloodbank.CodeInvalid, "%q is no head of a ledger; it has the form SEQUENCE:LINK, as bb verify prints it", text)
	}
	return h, nil
}
