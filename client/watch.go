package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/33god/bloodbank"
)

const (
	// silenceLimit is how long a stream may say nothing before it counts as
	// dead: the server gives a sign of life every 15 s.
	silenceLimit = 45 * time.Second
	// maxLine is the longest line of a stream: the largest event, and room.
	maxLine = 64 << 20
	// firstRetry and lastRetry bound the wait before another connect.
	firstRetry = 200 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// WatchRequest says what to watch.
type WatchRequest struct {
	// Query is a filter; "" wants all.
	Query string
	// Since begins behind this sequence of the store: 0 with the first event,
	// below 0 with the next one to come.
	Since int64
	// Connected is called each time the stream stands, from the goroutine that
	// watches. It may be nil.
	Connected func()
	// Lost is called when a stream that stood was lost, with the reason; the
	// client connects again by itself. It may be nil.
	Lost func(error)
}

// StreamEvent is an event as it was stored.
type StreamEvent struct {
	// Sequence is the store's number.
	Sequence int64
	// Raw is the envelope. The receiver owns it.
	Raw json.RawMessage
}

// Watch yields events as they are stored, until ctx ends or the loop is left. A
// stream that is lost is opened again behind the last event, so that none is
// missed or seen twice, for as long as it takes. An error is yielded once, and
// ends it, when the first connect fails or the server refuses the request.
func (c *Client) Watch(ctx context.Context, r WatchRequest) iter.Seq2[StreamEvent, error] {
	return func(yield func(StreamEvent, error) bool) {
		w := watch{c: c, r: r, yield: yield, retry: firstRetry, position: r.Since}
		w.run(ctx)
	}
}

// watch is one run of Watch.
type watch struct {
	c        *Client
	r        WatchRequest
	yield    func(StreamEvent, error) bool
	position int64 // the last sequence seen, -1 for the end of the store
	stood    bool  // a stream has stood before
	left     bool  // the caller has left the loop
	retry    time.Duration
}

func (w *watch) run(ctx context.Context) {
	for {
		err := w.once(ctx)
		if w.left || ctx.Err() != nil {
			return
		}
		if !w.stood || !passing(err) {
			w.yield(StreamEvent{}, err)
			return
		}
		if w.r.Lost != nil {
			w.r.Lost(err)
		}
		pause := time.NewTimer(w.retry/2 + rand.N(w.retry/2+1))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
		w.retry = min(2*w.retry, lastRetry)
	}
}

// passing reports whether it helps to connect again.
func passing(err error) bool {
	switch bloodbank.CodeOf(err) {
	case bloodbank.CodeUnavailable, bloodbank.CodeTimeout, bloodbank.CodeOverloaded, bloodbank.CodeInternal:
		return true
	}
	return false
}

// once holds one stream until it ends; the error says why.
func (w *watch) once(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(silenceLimit, func() { cancel(context.DeadlineExceeded) })
	defer silence.Stop()

	request := call{method: http.MethodGet, path: "/events/stream", query: url.Values{}, header: http.Header{"Accept": {"text/event-stream"}}}
	set(request.query, "q", w.r.Query)
	if w.position >= 0 {
		request.header.Set("Last-Event-Id", strconv.FormatInt(w.position, 10))
	}
	response, err := w.c.open(ctx, request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return w.c.errorOf(response)
	}
	w.stood = true
	if w.r.Connected != nil {
		w.r.Connected()
	}
	return w.read(response.Body, func() { silence.Reset(silenceLimit) })
}

// read takes blocks of lines apart, as the standard for server-sent events says,
// as far as our server uses it.
func (w *watch) read(from io.Reader, alive func()) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	var data []byte
	id, found := w.position, false
	for lines.Scan() {
		alive()
		line := lines.Bytes()
		if len(line) == 0 { // the block is complete
			w.position, w.retry = id, firstRetry
			if found && !w.yield(StreamEvent{Sequence: id, Raw: data}, nil) {
				w.left = true
				return nil
			}
			data, found = nil, false
			continue
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		value = bytes.TrimPrefix(value, []byte{' '})
		switch string(name) {
		case "id":
			n, err := strconv.ParseInt(string(value), 10, 64)
			if err != nil {
				return bloodbank.Errorf(bloodbank.CodeInvalid, "%s sent an event with the id %q, which no Bloodbank does", w.c.base, value)
			}
			id = n
		case "data":
			if found {
				data = append(data, '\n')
			}
			data, found = append(data, value...), true
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "the stream from %s broke: %w", w.c.base, err)
	}
	return bloodbank.Errorf(bloodbank.CodeUnavailable, "the stream from %s ended", w.c.base)
}
