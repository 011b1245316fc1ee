package redis

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
)

// positionPrefix begins the keys of positions. The original never touches them;
// they lie where users who may only use bloodbank:correlation:* can write.
const positionPrefix = "bloodbank:correlation:followed:"

// Position returns how far the follower of that name has come, the zero position
// if Redis knows of none: it is new, or everything was lost.
func (t *Tracker) Position(ctx context.Context, name string) (correlation.Position, error) {
	var text string
	err := t.do(ctx, func(ctx context.Context, c *goredis.Client) error {
		var err error
		text, err = c.Get(ctx, positionPrefix+name).Result()
		return err
	})
	if errors.Is(err, goredis.Nil) {
		err = nil
	}
	return readPosition(text), err
}

// Forget removes the position of a follower.
func (t *Tracker) Forget(ctx context.Context, name string) error {
	return t.do(ctx, func(ctx context.Context, c *goredis.Client) error {
		return c.Del(ctx, positionPrefix+name).Err()
	})
}

// Keep writes the links of events that are not there, and then moves the position
// of a follower. What stands there already stays as it is, since the original may
// have written it, with its metadata. It is idempotent. When it fails some links
// may be written, and the position is not moved, or moved in spite of the error.
func (t *Tracker) Keep(ctx context.Context, name string, from, to correlation.Position, events ...bloodbank.Envelope) (correlation.Kept, error) {
	kept := correlation.Kept{Position: from}
	for chunk := range slices.Chunk(Links(events...), atOnce) {
		n, err := t.fill(ctx, chunk)
		kept.Written += n
		if err != nil {
			return kept, err
		}
	}
	var now string
	err := t.do(ctx, func(ctx context.Context, c *goredis.Client) error {
		var err error
		now, err = t.scripts.keep.Run(ctx, c, []string{positionPrefix + name}, writePosition(from), writePosition(to), t.seconds()).Text()
		return err
	})
	if err == nil {
		kept.Position = readPosition(now)
	}
	return kept, err
}

func (t *Tracker) seconds() int64 { return int64(t.o.TTL / time.Second) }

// Missing returns how many of the links of events are not there.
func (t *Tracker) Missing(ctx context.Context, events ...bloodbank.Envelope) (n int, err error) {
	for chunk := range slices.Chunk(latest(Links(events...)), atOnce) {
		_, missing, err := t.absent(ctx, chunk)
		if err != nil {
			return n, err
		}
		n += len(missing)
	}
	return n, nil
}

// absent sorts links: those that Redis has the same way, and those that it does
// not have. Links that stand there with other parents are in neither.
func (t *Tracker) absent(ctx context.Context, links []Link) (same, missing []Link, err error) {
	keys := make([]string, len(links))
	for i, l := range links {
		keys[i] = forwardKey(l.Child)
	}
	values, err := t.get(ctx, keys)
	if err != nil {
		return nil, nil, err
	}
	for i, l := range links {
		if values[i] == nil {
			missing = append(missing, l)
		} else if slices.Equal(readForward(values[i]), l.Parents) {
			same = append(same, l)
		}
	}
	return same, missing, nil
}

// fill writes the links that are missing, and returns how many.
func (t *Tracker) fill(ctx context.Context, links []Link) (written int, err error) {
	same, missing, err := t.absent(ctx, latest(links))
	if err != nil || len(same)+len(missing) == 0 {
		return 0, err
	}
	at := t.o.now()
	var set []*goredis.StatusCmd
	err = t.transaction(ctx, len(same)+len(missing), func(ctx context.Context, p goredis.Pipeliner) {
		set = set[:0]
		for _, l := range missing {
			// NX: somebody may have written it since we looked.
			set = append(set, p.SetArgs(ctx, forwardKey(l.Child), forwardValue(l.Parents, at, l.Metadata), goredis.SetArgs{Mode: "NX", TTL: t.o.TTL}))
			reverse(ctx, p, l, t.o.TTL)
		}
		for _, l := range same { // one half of it may have been lost
			reverse(ctx, p, l, t.o.TTL)
		}
	})
	for _, s := range set {
		if s.Err() == nil {
			written++
		}
	}
	return written, err
}

// reverse makes the parents of a link know their child.
func reverse(ctx context.Context, p goredis.Pipeliner, l Link, ttl time.Duration) {
	child := l.Child.String()
	for _, parent := range l.Parents {
		p.SAdd(ctx, reverseKey(parent), child)
		p.Expire(ctx, reverseKey(parent), ttl)
	}
}

// A position is written as its sequence, a blank, and the event.
func writePosition(p correlation.Position) string {
	if p == (correlation.Position{}) {
		return ""
	}
	return strconv.FormatInt(p.Sequence, 10) + " " + p.Event.String()
}

// readPosition returns the zero position for what is none.
func readPosition(text string) (p correlation.Position) {
	sequence, event, _ := strings.Cut(text, " ")
	n, err := strconv.ParseInt(sequence, 10, 64)
	id, ok := parseID(event)
	if err != nil || !ok || n < 1 {
		return p
	}
	return correlation.Position{Sequence: n, Event: id}
}
