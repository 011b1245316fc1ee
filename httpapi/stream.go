package httpapi

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/live"
	"github.com/33god/bloodbank/store"
)

const (
	// retryHint is how long a browser waits before it connects again.
	retryHint = "retry: 1000\n"
	// streamChunk is when a batch is written out in part.
	streamChunk = 64 << 10
)

var errStopping = errors.New("httpapi: the server is stopping")

// streams are the event streams that are open.
type streams struct {
	mu     sync.Mutex
	open   map[*context.CancelCauseFunc]struct{}
	closed bool
	idle   chan struct{} // closed when streams are closed and none is open
}

// begin admits one more stream; its end must be called.
func (s *streams) begin(ctx context.Context, limit int) (_ context.Context, end func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, bloodbank.Errorf(bloodbank.CodeUnavailable, "the server is stopping; connect again in a moment")
	}
	if len(s.open) >= limit {
		return nil, nil, bloodbank.Errorf(bloodbank.CodeOverloaded, "%d event streams are open, which is the limit; try again later", limit)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	key := &cancel
	s.open[key] = struct{}{}
	return ctx, func() {
		cancel(nil)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, key)
		s.settle()
	}, nil
}

func (s *streams) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.settle()
	for cancel := range s.open {
		(*cancel)(errStopping)
	}
}

// settle must be called with the lock held.
func (s *streams) settle() {
	if s.closed && len(s.open) == 0 {
		close(s.idle)
	}
}

func (s *streams) wait(ctx context.Context) error {
	select {
	case <-s.idle:
		return nil
	case <-ctx.Done():
		return bloodbank.Errorf(bloodbank.CodeTimeout, "the event streams did not end in time: %w", context.Cause(ctx))
	}
}

// stream sends events as they are stored, as server-sent events whose id is the
// store's sequence. It begins behind Last-Event-ID or since, else with the next
// event, and ends with the client or the server.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	filter, since, err := s.readStream(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	ctx, end, err := s.streams.begin(r.Context(), s.o.Limits.Streams)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	defer end()
	watcher := s.o.Live.Watch(since)
	defer watcher.Close()
	out := &eventStream{w: w, control: http.NewResponseController(w), filter: filter}
	if err := out.open(watcher.Position()); err != nil {
		return
	}
	for out.next(ctx, watcher, s.o.Heartbeat) == nil {
	}
}

func (s *Server) readStream(r *http.Request) (f store.Filter, since int64, err error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return f, 0, bloodbank.Errorf(bloodbank.CodeInvalid, "the query of the address cannot be read: %w", err)
	}
	if f, err = s.parseFilter(r.Context(), query.Get("q")); err != nil {
		return f, 0, err
	}
	position := r.Header.Get("Last-Event-ID") // a browser's reconnect repeats the address, so the header wins
	if position == "" {
		position = query.Get("since")
	}
	if position == "" {
		return f, -1, nil
	}
	since, err = strconv.ParseInt(position, 10, 64)
	if err != nil || since < 0 {
		return f, 0, bloodbank.Errorf(bloodbank.CodeInvalid, "%q is no position in the stream; send the id of the last event, a whole number, or 0 for all", short(position))
	}
	return f, since, nil
}

// eventStream writes one answer.
type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	filter  store.Filter
	buf     bytes.Buffer
}

// open sends the head of the answer. It tells the position at once, so that a
// client that loses its connection before the first event misses none.
func (o *eventStream) open(position int64) error {
	if err := o.control.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	h := o.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would collect events
	o.w.WriteHeader(http.StatusOK)
	o.buf.WriteString(retryHint)
	o.silence(position)
	return o.flush()
}

// next sends the next batch, or a sign of life when there is none for long.
func (o *eventStream) next(ctx context.Context, watcher *live.Watcher, heartbeat time.Duration) error {
	wait, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	events, err := watcher.Next(wait)
	if err != nil {
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		o.silence(watcher.Position())
		return o.flush()
	}
	for i := range events {
		o.filter.Follow(&events[i].Envelope)
		if !o.filter.Match(&events[i].Envelope) {
			continue
		}
		o.append(&events[i])
		if o.buf.Len() >= streamChunk {
			if err := o.write(); err != nil {
				return err
			}
		}
	}
	if o.buf.Len() == 0 {
		return nil
	}
	return o.flush()
}

// append adds one event. An event is one line; another program on the bus may
// still have written one with line breaks between its tokens.
func (o *eventStream) append(e *store.Event) {
	o.id(e.Sequence)
	rest, more := e.Raw, true
	for more {
		var line []byte
		line, rest, more = bytes.Cut(rest, []byte{'\n'})
		o.buf.WriteString("data: ")
		if bytes.IndexByte(line, '\r') >= 0 {
			line = bytes.ReplaceAll(line, []byte{'\r'}, []byte{' '})
		}
		o.buf.Write(line)
		o.buf.WriteByte('\n')
	}
	o.buf.WriteByte('\n')
}

// silence adds a block without data: it fires nothing, but moves the client's
// position past events that its filter left out.
func (o *eventStream) silence(position int64) {
	o.id(position)
	o.buf.WriteString(": still here\n\n")
}

func (o *eventStream) id(position int64) {
	o.buf.WriteString("id: ")
	o.buf.Write(strconv.AppendInt(o.buf.AvailableBuffer(), position, 10))
	o.buf.WriteByte('\n')
}

func (o *eventStream) write() error {
	if err := o.control.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
		return err
	}
	_, err := o.w.Write(o.buf.Bytes())
	o.buf.Reset()
	return err
}

func (o *eventStream) flush() error {
	if err := o.write(); err != nil {
		return err
	}
	return o.control.Flush()
}
