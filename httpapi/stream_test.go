package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/httpapi"
	"github.com/33god/bloodbank/store"
)

// block is what stands between two blank lines of a stream.
type block struct {
	id, data string
	lines    []string
}

// tail is an open stream.
type tail struct {
	t        *testing.T
	response *http.Response
	lines    *bufio.Scanner
	cancel   context.CancelFunc
}

// open opens a stream and reads its head.
func (b *bundle) open(path string, headers ...string) *tail {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	r, err := http.NewRequestWithContext(ctx, "GET", b.url+path, nil)
	must(b.t, err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	must(b.t, err)
	s := &tail{b.t, response, bufio.NewScanner(response.Body), cancel}
	s.lines.Buffer(nil, 4<<20)
	b.t.Cleanup(s.close)
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "text/event-stream" {
		b.t.Fatalf("%s: %v", path, response.Status)
	}
	if head, ok := s.block(); !ok || head.lines[0] != "retry: 1000" || head.data != "" || head.id == "" {
		b.t.Fatalf("%s begins with %+v", path, head)
	}
	return s
}

func (s *tail) close() {
	s.cancel()
	_ = s.response.Body.Close()
}

// block reads the next block; false at the end of the stream.
func (s *tail) block() (b block, ok bool) {
	s.t.Helper()
	for s.lines.Scan() {
		line := s.lines.Text()
		if line == "" {
			return b, true
		}
		b.lines = append(b.lines, line)
		if value, found := strings.CutPrefix(line, "id: "); found {
			b.id = value
		}
		if value, found := strings.CutPrefix(line, "data: "); found {
			b.data += value
		}
	}
	return b, false
}

// event reads the next block with data.
func (s *tail) event() block {
	s.t.Helper()
	for {
		b, ok := s.block()
		if !ok {
			s.t.Fatalf("the stream ended: %v", s.lines.Err())
		}
		if b.data != "" {
			return b
		}
	}
}

func numbered(n int) string {
	return `{"event_type":"my.own","payload":{"n":` + strconv.Itoa(n) + `}}`
}

func (s *tail) want(sequence, n int) {
	s.t.Helper()
	if b := s.event(); b.id != strconv.Itoa(sequence) || !strings.HasSuffix(b.data, fmt.Sprintf(`"payload":{"n":%d}}`, n)) {
		s.t.Fatalf("got %+v, want sequence %d and n %d", b, sequence, n)
	}
}

func TestStreamBeginsWhereAsked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for n := 1; n <= 3; n++ {
		b.publish(numbered(n))
	}
	b.waitFor(func() bool { return b.hub.Status().Position == 3 })
	next, all := b.open("/events/stream"), b.open("/events/stream?since=0")
	second := b.open("/events/stream?since=0", "Last-Event-ID", "1") // the header wins
	filtered := b.open("/events/stream?since=0&q=payload.n:3,4")
	ahead := b.open("/events/stream?since=99") // from a store that was made anew since
	for n := 1; n <= 3; n++ {
		all.want(n, n)
	}
	second.want(2, 2)
	filtered.want(3, 3)
	b.publish(numbered(4))
	next.want(4, 4)
	filtered.want(4, 4)
	_ = ahead
	raw := b.do("GET", "/events?limit=1", "").body
	if got := all.event().data; !strings.Contains(string(raw), got) {
		t.Errorf("not the exact bytes: %s", got)
	}
}

// waitFor waits until something is true that no signal tells.
func (b *bundle) waitFor(done func() bool) {
	b.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatal("waited in vain")
		}
	}
}

func TestStreamShowsLifeAndPosition(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *httpapi.Options) { o.Heartbeat = 10 * time.Millisecond })
	s := b.open("/events/stream?q=type:none.such")
	b.publish(numbered(1))
	for { // the filter leaves the event out, and still the position moves past it
		got, ok := s.block()
		if !ok || got.data != "" {
			t.Fatalf("%+v %v", got, ok)
		}
		if got.id == "1" {
			return
		}
	}
}

// TestStreamOfOddBytes: another program's event may hold line breaks between its
// tokens.
func TestStreamOfOddBytes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.open("/events/stream")
	raw := []byte("{\r\n" + draft(idA)[1:])
	e, err := bloodbank.DecodeDraft(raw)
	must(t, err)
	e.Timestamp, e.Version, e.Source = time.Now(), "1", bloodbank.Source{Host: "h", Type: bloodbank.SourceManual}
	appended, err := b.store.Append(t.Context(), store.Batch{Events: []store.Incoming{{Envelope: e, Raw: raw}}})
	must(t, err)
	b.hub.Wake(appended.Last)
	if got := s.event(); got.data != "{ "+draft(idA)[1:] {
		t.Errorf("%q", got.data)
	}
}

// TestSlowClientBlocksNobody: one client never reads; the others get everything.
func TestSlowClientBlocksNobody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	conn, err := net.Dial("tcp", b.addr)
	must(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "GET /events/stream HTTP/1.1\r\nHost: %s\r\n\r\n", b.addr)
	must(t, err)
	b.waitFor(func() bool { return b.hub.Status().Watchers == 1 })
	fast := b.open("/events/stream")
	const events = 60 // of 200 KiB each: more than the buffers of a connection hold
	filler := strings.Repeat("x", 200<<10)
	go func() {
		for range events {
			b.do("POST", "/events/my.own?permissive=1", `"`+filler+`"`)
		}
	}()
	for n := 1; n <= events; n++ {
		if got := fast.event(); got.id != strconv.Itoa(n) {
			t.Fatalf("event %s instead of %d", got.id, n)
		}
	}
}

func TestStreamsEndWithClientAndServer(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *httpapi.Options) { o.Limits.Streams = 2 })
	gone, stays := b.open("/events/stream"), b.open("/events/stream")
	checkFailure(t, "one too many", b.do("GET", "/events/stream", ""), 429, bloodbank.CodeOverloaded, "2")
	gone.close()
	b.waitFor(func() bool { return b.hub.Status().Watchers == 1 })
	b.open("/events/stream")
	b.api.Close()
	if got, ok := stays.block(); ok {
		t.Errorf("after the end: %+v", got)
	}
	checkFailure(t, "stopping", b.do("GET", "/events/stream", ""), 503, bloodbank.CodeUnavailable, "stopping")
	b.waitFor(func() bool { return b.hub.Status().Watchers == 0 })
}

// TestClientLeavesInTheMiddle: a body that never comes to its end is not
// accepted, and costs nothing.
func TestClientLeavesInTheMiddle(t *testing.T) {
	t.Parallel()
	b := setup(t)
	conn, err := net.Dial("tcp", b.addr)
	must(t, err)
	body := draft("")
	_, err = fmt.Fprintf(conn, "POST /events HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", b.addr, len(body)+10, body)
	must(t, err)
	must(t, conn.(*net.TCPConn).CloseWrite())
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	_ = response.Body.Close()
	_ = conn.Close()
	if response.StatusCode != 400 || b.log.Last() != 0 {
		t.Errorf("%s, %d accepted", response.Status, b.log.Last())
	}
}

func TestSlowSenderIsCutOff(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *httpapi.Options) {
		o.Limits.ReadHeader, o.Limits.Read = 50*time.Millisecond, 100*time.Millisecond
	})
	for name, sent := range map[string]string{
		"headers": "POST /events HTTP/1.1\r\nHost: x\r\n",
		"body":    "POST /events HTTP/1.1\r\nHost: " + b.addr + "\r\nContent-Length: 100\r\n\r\n{",
	} {
		conn, err := net.Dial("tcp", b.addr)
		must(t, err)
		must(t, conn.SetDeadline(time.Now().Add(patience)))
		_, err = conn.Write([]byte(sent))
		must(t, err)
		in := bufio.NewReader(conn)
		line, _ := in.ReadString('\n')
		if name == "body" && !strings.Contains(line, "504") {
			t.Errorf("%s: %q", name, line)
		}
		for err == nil { // until the server hangs up
			_, err = in.ReadByte()
		}
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Errorf("%s: the connection stays open", name)
		}
		_ = conn.Close()
	}
	s := b.open("/events/stream") // outlives the limits of other requests
	b.publish(numbered(1))
	s.want(1, 1)
}

func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if a := b.do("GET", "/healthz", "", "X-Big", strings.Repeat("x", 100<<10)); a.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%s", a.Status)
	}
}
