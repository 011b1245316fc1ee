package redis

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/33god/bloodbank"
)

// Link says what caused an event.
type Link struct {
	Child   bloodbank.EventID
	Parents []bloodbank.EventID
	// Metadata is a JSON object about the link; empty means {}.
	Metadata json.RawMessage
}

// Links returns the links of events. Those without parents have none.
func Links(events ...bloodbank.Envelope) []Link {
	var links []Link
	for _, e := range events {
		if len(e.CorrelationIDs) > 0 {
			links = append(links, Link{Child: e.EventID, Parents: e.CorrelationIDs})
		}
	}
	return links
}

// atOnce is how many links one transaction writes: enough that the round trips
// do not matter, few enough that other clients do not wait.
const atOnce = 200

// Add writes links, in this order. It is idempotent; a child that comes with
// other parents than before has only the new ones. Links without parents are
// left out: the original has no keys for them. When it fails, some links may be
// written; trying again does no harm.
func (t *Tracker) Add(ctx context.Context, links ...Link) error {
	for _, l := range links {
		if len(l.Metadata) > 0 && (l.Metadata[0] != '{' || !json.Valid(l.Metadata)) {
			return bloodbank.Errorf(bloodbank.CodeInvalid, "the metadata of the link of %s is not a JSON object", l.Child)
		}
	}
	for chunk := range slices.Chunk(links, atOnce) {
		if err := t.add(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

// add writes one transaction. First it looks what the children had before, since
// a parent that is not named any more must forget the child.
func (t *Tracker) add(ctx context.Context, links []Link) error {
	links = latest(links)
	if len(links) == 0 {
		return nil
	}
	keys := make([]string, len(links))
	for i, l := range links {
		keys[i] = forwardKey(l.Child)
	}
	before, err := t.get(ctx, keys)
	if err != nil {
		return err
	}
	at := t.o.now()
	return t.transaction(ctx, len(links), func(ctx context.Context, p goredis.Pipeliner) {
		for i, l := range links {
			t.addOne(ctx, p, l, before[i], at)
		}
	})
}

// transaction sends what queue writes, for n links, in one MULTI and EXEC.
func (t *Tracker) transaction(ctx context.Context, n int, queue func(ctx context.Context, p goredis.Pipeliner)) error {
	var replies []goredis.Cmder
	err := t.do(ctx, func(ctx context.Context, c *goredis.Client) error {
		var err error
		replies, err = c.TxPipelined(ctx, func(p goredis.Pipeliner) error {
			queue(ctx, p)
			return nil
		})
		switch {
		case wrongType(err) || errors.Is(err, goredis.Nil):
			return nil // of one key; the rest was written
		case goredis.IsExecAbortError(err):
			return abortedBy(replies, err)
		}
		return err
	})
	if err != nil {
		return err
	}
	refused := refusals(replies)
	t.counts.written.Add(uint64(max(n-refused, 0)))
	if refused > 0 {
		t.counts.refused.Add(uint64(refused))
		t.o.Logger.Warn("keys of links hold something else in Redis; delete them, then run bb correlation rebuild", "count", refused)
	}
	return nil
}

func (t *Tracker) addOne(ctx context.Context, p goredis.Pipeliner, l Link, before []byte, at time.Time) {
	child := l.Child.String()
	for _, old := range readForward(before) {
		if !slices.Contains(l.Parents, old) {
			p.SRem(ctx, reverseKey(old), child)
		}
	}
	p.SetEx(ctx, forwardKey(l.Child), forwardValue(l.Parents, at, l.Metadata), t.o.TTL)
	reverse(ctx, p, l, t.o.TTL)
}

// latest leaves out links without parents, and all but the last of each child.
func latest(links []Link) []Link {
	last := make(map[bloodbank.EventID]int, len(links))
	for i, l := range links {
		last[l.Child] = i
	}
	kept := make([]Link, 0, len(links))
	for i, l := range links {
		if len(l.Parents) > 0 && last[l.Child] == i {
			kept = append(kept, l)
		}
	}
	return kept
}

// abortedBy returns why a transaction was not begun.
func abortedBy(replies []goredis.Cmder, err error) error {
	for _, r := range replies {
		if r.Err() != nil && !goredis.IsExecAbortError(r.Err()) {
			return r.Err()
		}
	}
	return err
}

func wrongType(err error) bool {
	var reply goredis.Error
	return errors.As(err, &reply) && strings.HasPrefix(reply.Error(), "WRONGTYPE")
}

// refusals counts the commands of a transaction that met a key of another kind.
func refusals(replies []goredis.Cmder) int {
	n := 0
	for _, r := range replies {
		if _, sadd := r.(*goredis.IntCmd); sadd && wrongType(r.Err()) {
			n++
		}
	}
	return n
}
