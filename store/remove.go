package store

import (
	"context"
	"time"

	"github.com/33god/bloodbank"
)

// Head is what retention needs to know of a stored event.
type Head struct {
	Sequence int64
	StoredAt time.Time
	Type     bloodbank.EventType
	// Bytes is the size of its wire form.
	Bytes int64
}

// Usage says how much a store holds, and how much retention has removed from it
// in all its life. Bytes are those of wire forms; a database takes more.
type Usage struct {
	Events        int64 `json:"events"`
	Bytes         int64 `json:"bytes"`
	RemovedEvents int64 `json:"removed_events"`
	RemovedBytes  int64 `json:"removed_bytes"`
}

// MaxRemove is how many events one call of Remove takes.
const MaxRemove = 500

// Remover is what a store offers beyond [Store] to let old events go.
type Remover interface {
	// Heads returns up to limit stored events above the sequence after, in order.
	Heads(ctx context.Context, after int64, limit int) ([]Head, error)
	// Usage adds up the ledger's pages: it takes longer the more batches there were.
	Usage(ctx context.Context) (Usage, error)
	// Remove lets the events with these sequences go, at most MaxRemove, and records
	// that and the reason in the same transaction. Their entries in the ledger stay;
	// so do the edges to their children, which name a parent that is missing then.
	// What is not there counts for nothing; where nothing is, nothing is recorded. The
	// newest event of a store is never removed: followers would see its end move back.
	Remove(ctx context.Context, sequences []int64, reason string) (Removal, error)
}

// Ranges joins ascending sequences that follow each other.
func Ranges(sequences []int64) (ranges []Range) {
	for _, n := range sequences {
		if last := len(ranges) - 1; last >= 0 && ranges[last].Last+1 == n {
			ranges[last].Last = n
			continue
		}
		ranges = append(ranges, Range{n, n})
	}
	return ranges
}

// CheckRemove refuses a call of Remove with too much.
func CheckRemove(sequences []int64) error {
	if len(sequences) > MaxRemove {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "%d events are too many to remove at once; take %d", len(sequences), MaxRemove)
	}
	return nil
}
