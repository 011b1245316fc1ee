package redis

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"

	goredis "github.com/redis/go-redis/v9"
)

// get returns the values of keys, nil for those that are not there. Keys that
// hold something else than a string count as not there. It is one round trip.
// The values are pieces of the answer as it came: made a string each, they would
// take longer than all the rest.
func (t *Tracker) get(ctx context.Context, keys []string) ([][]byte, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	values := make([][]byte, 0, len(keys))
	err := t.do(ctx, func(ctx context.Context, c *goredis.Client) error {
		replies, err := c.Pipelined(ctx, func(p goredis.Pipeliner) error {
			for chunk := range slices.Chunk(keys, keysPerCall) {
				// Pointers, unlike strings, become arguments without a copy each.
				args := make([]any, 1, len(chunk)+1)
				args[0] = "mget"
				for i := range chunk {
					args = append(args, &chunk[i])
				}
				if err := p.Process(ctx, goredis.NewRawCmd(ctx, args...)); err != nil {
					return err
				}
			}
			return nil
		})
		for _, r := range replies {
			if err == nil {
				values, err = appendStrings(values, r.(*goredis.RawCmd).Val())
			}
		}
		return err
	})
	if err == nil && len(values) != len(keys) {
		err = fmt.Errorf("an answer of Redis has %d values for %d keys", len(values), len(keys))
	}
	return values, err
}

// appendStrings reads an array of strings, or of nothing, as Redis sends it:
//
//	*2\r\n $5\r\nvalue\r\n $-1\r\n    (without the blanks)
func appendStrings(values [][]byte, reply []byte) ([][]byte, error) {
	if len(reply) > 0 && reply[0] == '-' {
		return values, replyError(bytes.TrimSpace(reply[1:]))
	}
	n, rest, ok := length(reply, '*')
	ok = ok && n >= 0
	for range n {
		var size int
		if size, rest, ok = length(rest, '$'); !ok {
			break
		}
		if size < 0 {
			values = append(values, nil)
			continue
		}
		if ok = size+2 <= len(rest); !ok {
			break
		}
		values, rest = append(values, rest[:size:size]), rest[size+2:]
	}
	if !ok || len(rest) > 0 {
		return values, fmt.Errorf("an answer of Redis is no array of strings: %.40q", reply)
	}
	return values, nil
}

// length reads a line of kind and a number.
func length(reply []byte, kind byte) (n int, rest []byte, ok bool) {
	line, rest, ok := bytes.Cut(reply, []byte("\r\n"))
	if !ok || len(line) < 2 || line[0] != kind {
		return 0, nil, false
	}
	n, err := strconv.Atoi(string(line[1:]))
	return n, rest, err == nil
}

// replyError is an error that Redis has answered with.
type replyError string

var _ goredis.Error = replyError("")

func (e replyError) Error() string { return string(e) }

// RedisError makes it one of those that the client library returns.
func (replyError) RedisError() {}
