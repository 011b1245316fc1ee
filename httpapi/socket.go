package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/coder/websocket"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/live"
	"github.com/33god/bloodbank/store"
)

// pathStream is the live stream as a WebSocket.
const pathStream = "/api/v1/stream"

// maxRequest is the largest message of a stream's client in bytes: a filter, with
// each of its bytes escaped.
const maxRequest = 6*store.MaxFilterBytes + 1<<10

// socket is the live stream as a WebSocket: frames of events, which the client
// confirms, see [live.Feed].
func (s *Server) socket(w http.ResponseWriter, r *http.Request) {
	filter, since, err := s.readSocket(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	// The request's own context ends when the connection is taken over.
	ctx, end, err := s.streams.begin(context.WithoutCancel(r.Context()), s.o.Limits.Streams)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	defer end()
	watcher := s.o.Live.Watch(since)
	defer watcher.Close()
	if watcher.Position() < 0 {
		s.fail(w, r, bloodbank.Errorf(bloodbank.CodeUnavailable, "the store cannot be read yet; connect again in a moment"))
		return
	}
	// The origin was checked by a wider rule than the library's.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{"token", "bearer"}})
	if err != nil {
		return // answered by Accept
	}
	c := &socketClient{server: s, conn: conn, requests: make(chan live.Request)}
	c.serve(ctx, live.NewFeed(watcher, filter))
}

func (s *Server) readSocket(r *http.Request) (f store.Filter, since int64, err error) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return f, 0, bloodbank.Errorf(bloodbank.CodeInvalid, "this is a WebSocket; connect with ws://, or take the same as server-sent events from /events/stream")
	}
	if err := s.checkSocketOrigin(r); err != nil {
		return f, 0, err
	}
	return s.readStream(r)
}

// socketClient is the other end of a stream. Its goroutines end with serve.
type socketClient struct {
	server   *Server
	conn     *websocket.Conn
	requests chan live.Request
	buf      []byte
}

func (c *socketClient) serve(ctx context.Context, feed *live.Feed) {
	// The library cuts a connection whose reading is given up: no word of farewell
	// would get through. So these two go on until the connection is closed.
	open, closed := context.WithCancel(context.WithoutCancel(ctx))
	ctx, cancel := context.WithCancelCause(ctx)
	var hands sync.WaitGroup
	hands.Go(func() { cancel(c.read(open, ctx)) })
	hands.Go(func() { cancel(c.watch(open)) })
	err := feed.Run(ctx, c.requests, c.send)
	switch {
	case errors.Is(err, errStopping), errors.Is(err, live.ErrClosed):
		_ = c.conn.Close(websocket.StatusGoingAway, "the server is stopping")
	case bloodbank.CodeOf(err) == bloodbank.CodeUnavailable, bloodbank.CodeOf(err) == bloodbank.CodeTimeout && ctx.Err() == nil:
		_ = c.conn.Close(websocket.StatusTryAgainLater, "the store cannot be read")
	default:
		_ = c.conn.CloseNow() // the client is gone, or asks for nothing that is worth a word
	}
	closed()
	cancel(err)
	hands.Wait()
}

// read turns the client's messages into requests until it is gone. Those that come
// when the feed has ended go nowhere.
func (c *socketClient) read(ctx, feed context.Context) error {
	c.conn.SetReadLimit(maxRequest)
	for {
		_, data, err := c.conn.Read(ctx)
		if err != nil {
			return err
		}
		select {
		case c.requests <- c.server.streamRequest(ctx, data):
		case <-feed.Done():
		}
	}
}

// streamRequest reads one message of a client.
func (s *Server) streamRequest(ctx context.Context, data []byte) (q live.Request) {
	var m struct {
		Ack  *int64  `json:"ack"`
		Mode *string `json:"mode"`
		Q    *string `json:"q"`
	}
	err := json.Unmarshal(data, &m)
	switch {
	case err != nil || m.Ack == nil && m.Mode == nil && m.Q == nil:
		q.Fault = bloodbank.Errorf(bloodbank.CodeInvalid, `the message cannot be read; send {"ack":last}, {"mode":"events"}, {"mode":"count"} or {"q":"filter"}`)
		return q
	case m.Ack != nil:
		q.Ack = *m.Ack
	}
	if m.Mode != nil {
		switch mode := live.Mode(*m.Mode); mode {
		case live.ModeEvents, live.ModeCount:
			q.Mode = mode
		default:
			q.Fault = bloodbank.Errorf(bloodbank.CodeInvalid, "mode %q is not known; use events or count", short(*m.Mode))
		}
	}
	if m.Q != nil {
		if filter, err := s.parseFilter(ctx, *m.Q); err != nil {
			q.Fault = err
		} else {
			q.Filter = &filter
		}
	}
	return q
}

// watch finds clients that vanished without a word.
func (c *socketClient) watch(ctx context.Context) error {
	for {
		wait, cancel := context.WithTimeout(ctx, c.server.o.Heartbeat)
		<-wait.Done()
		cancel()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		wait, cancel = context.WithTimeout(ctx, streamWrite)
		err := c.conn.Ping(wait)
		cancel()
		if err != nil {
			return err
		}
	}
}

// send writes one message, which the client must take in time.
func (c *socketClient) send(ctx context.Context, m live.Message) error {
	ctx, cancel := context.WithTimeout(ctx, streamWrite)
	defer cancel()
	c.buf = appendMessage(c.buf[:0], m)
	err := c.conn.Write(ctx, websocket.MessageText, c.buf)
	if cap(c.buf) > maxKept {
		c.buf = nil
	}
	return err
}

// appendMessage writes a message as JSON. Events keep their exact bytes.
func appendMessage(b []byte, m live.Message) []byte {
	switch {
	case m.Frame != nil:
		return appendFrame(b, m.Frame)
	case m.Hello != nil:
		b = strconv.AppendInt(append(b, `{"hello":{"position":`...), m.Hello.Position, 10)
		b = strconv.AppendInt(append(b, `,"begin":`...), m.Hello.Begin, 10)
		return append(b, "}}"...)
	case m.Gap != nil:
		b = strconv.AppendInt(append(b, `{"gap":{"from":`...), m.Gap.From, 10)
		b = strconv.AppendInt(append(b, `,"to":`...), m.Gap.To, 10)
		b = strconv.AppendInt(append(b, `,"n":`...), m.Gap.Count, 10)
		return append(b, "}}"...)
	}
	var e *bloodbank.Error
	if !errors.As(m.Fault, &e) {
		e = bloodbank.Errorf(bloodbank.CodeInternal, "%w", m.Fault)
	}
	text, err := json.Marshal(struct {
		Error *bloodbank.Error `json:"error"`
	}{e})
	if err != nil {
		return append(b, `{"error":{"code":"internal","message":"an error cannot be written as JSON"}}`...)
	}
	return append(b, text...)
}

func appendFrame(b []byte, f *live.Frame) []byte {
	b = strconv.AppendInt(append(b, `{"first":`...), f.First, 10)
	b = strconv.AppendInt(append(b, `,"last":`...), f.Last, 10)
	b = append(b, `,"events":[`...)
	for i := range f.Events {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, f.Events[i].Raw...)
	}
	b = append(b, `],"seqs":[`...)
	for i := range f.Events {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, f.Events[i].Sequence, 10)
	}
	b = strconv.AppendInt(append(b, `],"counts":{"matched":`...), f.Matched, 10)
	b = strconv.AppendInt(append(b, `,"scanned":`...), f.Scanned, 10)
	b = strconv.AppendInt(append(b, `},"dropped":`...), f.Dropped, 10)
	return append(b, '}')
}
