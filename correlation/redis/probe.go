package redis

import (
	"context"
	"errors"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/33god/bloodbank"
)

// ErrEvicts is within the error of [Probe] for a Redis that works, but may throw
// links away when its memory is full. It is a warning.
var ErrEvicts = errors.New("redis: links may be evicted")

// Probe looks whether o names a Redis that can keep links, for a check before the
// start: it connects once, and tries every command on keys of its own that live
// for a second. The error names the setting to correct, never the password.
func Probe(ctx context.Context, o Options) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	logging.Disable() // it prints what it also returns as errors
	t := &Tracker{o: o, scripts: newScripts()}
	c := t.dial()
	defer c.Close() // nothing is left to lose
	if err := t.try(ctx, c); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return t.explain(err)
	}
	return t.evicts(ctx, c)
}

// try does what a tracker does.
func (t *Tracker) try(ctx context.Context, c *goredis.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 2*t.o.Timeout)
	defer cancel()
	if err := c.Ping(ctx).Err(); err != nil {
		return err
	}
	id, err := bloodbank.NewEventID()
	if err != nil {
		return err
	}
	value, set := positionPrefix+"probe:"+id.String(), positionPrefix+"probe-set:"+id.String()
	replies, err := c.TxPipelined(ctx, func(p goredis.Pipeliner) error {
		p.SetEx(ctx, value, "", time.Second)
		p.SetArgs(ctx, value, "", goredis.SetArgs{TTL: time.Second})
		p.Get(ctx, value)
		p.MGet(ctx, value)
		p.SAdd(ctx, set, "a", "b")
		p.Expire(ctx, set, time.Second)
		p.SCard(ctx, set)
		p.SMembers(ctx, set)
		p.SRandMemberN(ctx, set, 1)
		p.SScan(ctx, set, 0, "", 1)
		p.SRem(ctx, set, "a")
		p.Del(ctx, value, set)
		return nil
	})
	if goredis.IsExecAbortError(err) {
		return abortedBy(replies, err)
	}
	if err != nil {
		return err
	}
	for _, way := range []string{"up", "down"} {
		if err := t.scripts.walk.Run(ctx, c, nil, way, 1, 1, id.String()).Err(); err != nil {
			return err
		}
	}
	return nil
}

// evicts looks whether links may be thrown away. Who may not look is not warned.
func (t *Tracker) evicts(ctx context.Context, c *goredis.Client) error {
	ctx, cancel := context.WithTimeout(ctx, t.o.Timeout)
	defer cancel()
	info, err := c.Info(ctx, "memory").Result()
	if err != nil || infoField(info, "maxmemory") == "0" {
		return nil
	}
	policy := infoField(info, "maxmemory_policy")
	if policy == "noeviction" || policy == "" {
		return nil
	}
	return bloodbank.Errorf(bloodbank.CodeUnavailable, "Redis at %s works, but with maxmemory-policy %s it throws links away when its memory is full (%w); set maxmemory-policy to noeviction, or raise maxmemory. What is lost is read from the store", t.o.Addr, policy, ErrEvicts)
}

// infoField returns a field of what INFO says, or "".
func infoField(info, field string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
