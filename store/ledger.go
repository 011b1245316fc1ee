package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/33god/bloodbank"
)

// The ledger says what was stored, in what order, so that a change behind our
// back can be found. It is a hash chain (linked timestamping after Haber and
// Stornetta, 1991) over SHA-256 (FIPS 180-4). For each event, in the order of the
// sequence, and in the transaction that stores it:
//
//	digest = SHA-256(wire form)
//	link   = SHA-256(link before · sequence · event id · digest)
//
// The link before the first one is [LedgerOrigin]. Numbers are 8 bytes, big
// endian; an id has 16 bytes, a digest and a link 32. The entries of a batch lie
// in one page, 88 bytes each:
//
//	 0        8            24           56          88
//	┌──────────┬────────────┬────────────┬───────────┐
//	│ sequence │  event id  │   digest   │   link    │
//	└──────────┴────────────┴────────────┴───────────┘
//
// An event that retention removes leaves its entry; what was removed stands in
// removals, which are a chain of their own, see [Removal]. The hashes have no key:
// who may write the database can write the whole ledger anew. So note the head
// that a verification prints somewhere else, and have the next one compare.

// Hash is a SHA-256.
type Hash [sha256.Size]byte

// String returns 64 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText makes the JSON form that of String.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// ParseHash reads what String wrote.
func ParseHash(text string) (h Hash, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(h) {
		return h, bloodbank.Errorf(bloodbank.CodeInvalid, "%q is no link; it has %d hexadecimal digits", text, 2*len(h))
	}
	return Hash(b), nil
}

// EntrySize is how many bytes an entry has in a page.
const EntrySize = 8 + 16 + 2*sha256.Size

// Entry is an event's line in the ledger.
type Entry struct {
	Sequence int64
	ID       bloodbank.EventID
	Digest   Hash
	Link     Hash
}

// LedgerOrigin is the link before the first entry of a ledger that begins behind
// the sequence after.
func LedgerOrigin(after int64) Hash {
	return sha256.Sum256(binary.BigEndian.AppendUint64([]byte("bloodbank ledger 1\n"), uint64(after)))
}

// Follow returns the link of e behind the link before.
func (e *Entry) Follow(before Hash) Hash {
	b := make([]byte, 0, EntrySize)
	b = append(b, before[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Sequence))
	b = append(b, e.ID[:]...)
	return sha256.Sum256(append(b, e.Digest[:]...))
}

// Append writes e behind page.
func (e *Entry) Append(page []byte) []byte {
	page = binary.BigEndian.AppendUint64(page, uint64(e.Sequence))
	page = append(page, e.ID[:]...)
	page = append(page, e.Digest[:]...)
	return append(page, e.Link[:]...)
}

// LedgerPage holds the entries of one batch.
type LedgerPage struct {
	// First and Last are the sequences of its ends.
	First, Last int64
	// Before is the link that its first entry follows.
	Before Hash
	// Raw are the entries, EntrySize bytes each.
	Raw []byte
}

// Entries reads the page; whole is false where bytes are left over.
func (p LedgerPage) Entries() (entries []Entry, whole bool) {
	b := p.Raw
	for ; len(b) >= EntrySize; b = b[EntrySize:] {
		e := Entry{Sequence: int64(binary.BigEndian.Uint64(b))}
		copy(e.ID[:], b[8:])
		copy(e.Digest[:], b[24:])
		copy(e.Link[:], b[56:])
		entries = append(entries, e)
	}
	return entries, len(b) == 0
}

// LedgerStart says where the ledger of a store begins.
type LedgerStart struct {
	// After is the newest sequence that the ledger knows nothing of: 0, unless the
	// store is older than its ledger.
	After int64 `json:"after"`
	// At is when the ledger was begun, Events how many events there were without.
	At     time.Time `json:"at"`
	Events int64     `json:"events"`
	Bytes  int64     `json:"bytes"`
}

// Fingerprint is what an event in the store looks like now.
type Fingerprint struct {
	Sequence int64
	ID       bloodbank.EventID
	Digest   Hash
}

// Removal is the record of one transaction of retention.
//
//	link = SHA-256(link before · time in µs · events · bytes · length of reason · reason · ranges)
//
// The link before the first one is 32 zero bytes. Ranges are pairs of sequences,
// 16 bytes each: every event of the store between first and last, inclusive, was
// removed.
type Removal struct {
	ID     int64
	At     time.Time
	Reason string
	Events int64
	Bytes  int64
	Ranges []Range
	Link   Hash
}

// Range is a run of sequences, both ends included.
type Range struct{ First, Last int64 }

// AppendRanges writes ranges, 16 bytes each.
func AppendRanges(b []byte, ranges []Range) []byte {
	for _, r := range ranges {
		b = binary.BigEndian.AppendUint64(b, uint64(r.First))
		b = binary.BigEndian.AppendUint64(b, uint64(r.Last))
	}
	return b
}

// DecodeRanges reads what AppendRanges wrote.
func DecodeRanges(b []byte) (ranges []Range) {
	for ; len(b) >= 16; b = b[16:] {
		ranges = append(ranges, Range{int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))})
	}
	return ranges
}

// Follow returns the link of r behind the link before.
func (r *Removal) Follow(before Hash) Hash {
	b := append([]byte(nil), before[:]...)
	for _, n := range []int64{r.At.UnixMicro(), r.Events, r.Bytes, int64(len(r.Reason))} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return sha256.Sum256(AppendRanges(append(b, r.Reason...), r.Ranges))
}

// Covers reports whether r removed the event with this sequence.
func (r *Removal) Covers(sequence int64) bool {
	for _, x := range r.Ranges {
		if x.First <= sequence && sequence <= x.Last {
			return true
		}
	}
	return false
}

// Ledger is what a store offers beyond [Store] to be verified, see
// [VerifyLedger]. Appends and removals may run meanwhile: a page becomes visible
// together with its events, a removal together with their going.
type Ledger interface {
	// LedgerStart says where the ledger begins.
	LedgerStart(ctx context.Context) (LedgerStart, error)
	// LedgerPages returns the next pages that end above the sequence after, in
	// order: at least one if there is any, and not many.
	LedgerPages(ctx context.Context, after int64) ([]LedgerPage, error)
	// Fingerprints reads up to limit stored events with first <= sequence <= last,
	// in order.
	Fingerprints(ctx context.Context, first, last int64, limit int) ([]Fingerprint, error)
	// Removals returns those that touch a sequence between first and last.
	Removals(ctx context.Context, first, last int64) ([]Removal, error)
	// RemovalLog returns up to limit removals above an ID, in order.
	RemovalLog(ctx context.Context, after int64, limit int) ([]Removal, error)
}
