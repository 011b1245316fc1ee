package store

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"

	"github.com/33god/bloodbank"
)

// Position is a place between two events in the order of a query: behind the
// event with this timestamp (Unix microseconds) and sequence.
type Position struct {
	Micros   int64
	Sequence int64
}

// cursorVersion is the first byte of a cursor.
const cursorVersion = 1

// CursorAt makes the cursor that continues q behind p.
func (q Query) CursorAt(p Position) string {
	b := []byte{cursorVersion}
	b = binary.BigEndian.AppendUint64(b, q.fingerprint())
	b = binary.BigEndian.AppendUint64(b, uint64(p.Micros))
	b = binary.BigEndian.AppendUint64(b, uint64(p.Sequence))
	return base64.RawURLEncoding.EncodeToString(b)
}

// Position reads q.Cursor; ok is false where there is none. A cursor that was
// made for another filter or order, or that nobody made, is CodeInvalid.
func (q Query) Position() (p Position, ok bool, err error) {
	if q.Cursor == "" {
		return p, false, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(q.Cursor)
	if err != nil || len(b) != 25 || b[0] != cursorVersion {
		return p, false, bloodbank.Errorf(bloodbank.CodeInvalid, "the cursor cannot be read; pass the one of the page before, unchanged, or none to start again")
	}
	if binary.BigEndian.Uint64(b[1:]) != q.fingerprint() {
		return p, false, bloodbank.Errorf(bloodbank.CodeInvalid, "the cursor belongs to another filter or order; leave it out to start again")
	}
	p.Micros = int64(binary.BigEndian.Uint64(b[9:]))
	p.Sequence = int64(binary.BigEndian.Uint64(b[17:]))
	return p, true, nil
}

// fingerprint tells queries apart by filter and order. The times of since and
// until do not count: "since:15m" is another moment at each page.
func (q Query) fingerprint() uint64 {
	f := Filter{Terms: make([]Term, len(q.Filter.Terms))}
	copy(f.Terms, q.Filter.Terms)
	for i, t := range f.Terms {
		if t.Field == FieldSince || t.Field == FieldUntil {
			f.Terms[i].Values = make([]Value, len(t.Values))
		}
	}
	h := fnv.New64a()
	h.Write([]byte(string(q.order()) + "\x00" + f.String()))
	return h.Sum64()
}

func (q Query) order() Order {
	if q.Order == "" {
		return NewestFirst
	}
	return q.Order
}

// Normalize fills in what is zero. A limit or an order that is none is
// CodeInvalid; so is a cursor that q did not make.
func (q Query) Normalize() (Query, error) {
	if q.Limit == 0 {
		q.Limit = DefaultLimit
	}
	q.Order = q.order()
	if q.Limit < 0 || q.Limit > MaxLimit {
		return q, bloodbank.Errorf(bloodbank.CodeInvalid, "limit is %d; use 1 to %d", q.Limit, MaxLimit)
	}
	if q.Order != NewestFirst && q.Order != OldestFirst {
		return q, bloodbank.Errorf(bloodbank.CodeInvalid, "order %q is not known; use %s or %s", q.Order, NewestFirst, OldestFirst)
	}
	_, _, err := q.Position()
	return q, err
}
