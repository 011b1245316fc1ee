package httpapi_test

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/httpapi"
	"github.com/33god/bloodbank/store"
)

func TestExportLines(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(1234, func(i int, e *bloodbank.Envelope) {
		e.EventType = bloodbank.EventType([]string{"my.own", "my.other"}[i%2])
		e.Payload = fmt.Appendf(nil, `{ "n":%d, "big":9223372036854775807 }`, i)
	})
	for query, want := range map[string]struct {
		n           int
		first, last string
	}{
		"":                               {1234, `"n":1233,`, `"n":0,`},
		"?order=asc&format=jsonl":        {1234, `"n":0,`, `"n":1233,`},
		"?q=my.other&order=asc":          {617, `"n":1,`, `"n":1233,`},
		"?q=payload.n:%3E1200&order=asc": {33, `"n":1201,`, `"n":1233,`},
		"?q=type:none.such":              {0, "", ""},
	} {
		a := b.do("GET", "/export"+query, "")
		lines := strings.SplitAfter(string(a.body), "\n")
		lines = lines[:len(lines)-1]
		if a.StatusCode != 200 || len(lines) != want.n || a.Trailer.Get("Bb-Count") != fmt.Sprint(want.n) {
			t.Fatalf("%s: %s, %d lines, %v", query, a.Status, len(lines), a.Trailer)
		}
		if want.n == 0 {
			continue
		}
		for _, line := range lines {
			if _, err := bloodbank.DecodeEnvelope([]byte(line)); err != nil || !strings.Contains(line, `"big":9223372036854775807 }`) {
				t.Fatalf("%v: %s", err, line)
			}
		}
		if !strings.Contains(lines[0], want.first) || !strings.Contains(lines[want.n-1], want.last) {
			t.Errorf("%s: from %s to %s", query, lines[0], lines[want.n-1])
		}
	}
	a := b.do("GET", "/export?format=csv", "")
	if a.Header.Get("Content-Disposition") != `attachment; filename="bloodbank-events.csv"` || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/csv") {
		t.Error(a.Header)
	}
}

// TestExportCSV: what comes out is read back as it was, and no cell is a formula.
func TestExportCSV(t *testing.T) {
	t.Parallel()
	b := setup(t)
	odd := []string{
		"=1+1", "+cmd", "-1", "@sum", "\tx", "\rx", "a,b", `say "x"`, "two\nlines", "two\r\nlines", " spaces ", "", "plain", "'=1", "日本, x", "=a,\"b\"",
	}
	parent := idA
	b.fill(len(odd), func(i int, e *bloodbank.Envelope) {
		e.Source.App = odd[i]
		e.AgentContext = &bloodbank.AgentContext{Type: bloodbank.AgentClaudeCode, Name: &odd[i]}
		id, err := bloodbank.ParseEventID(parent)
		if err != nil {
			t.Error(err)
		}
		e.CorrelationIDs = []bloodbank.EventID{id, id}
		e.Payload = []byte([]string{`-5`, `{"session_id":"=s","a":"b,\"c\""}`}[i%2])
	})
	a := b.do("GET", "/export?format=csv&order=asc", "")
	if n := strings.Count(string(a.body), "\r\n"); n < len(odd)+1 {
		t.Fatalf("%d line ends", n)
	}
	// Go's reader joins \r\n within quotes, so those are compared as \n.
	rows, err := csv.NewReader(strings.NewReader(string(a.body))).ReadAll()
	if err != nil || len(rows) != len(odd)+1 {
		t.Fatalf("%d rows, %v:\n%s", len(rows), err, a.body)
	}
	if strings.Join(rows[0], " ") != "sequence event_id event_type timestamp version source_host source_type source_app agent_type agent_name session_id correlation_ids replay_of payload" {
		t.Error(rows[0])
	}
	for i, row := range rows[1:] {
		want := strings.ReplaceAll(odd[i], "\r\n", "\n")
		if want != "" && strings.Contains("=+-@\t\r", want[:1]) {
			want = "'" + want
		}
		if row[7] != want || row[9] != want || row[0] != fmt.Sprint(i+1) || row[11] != parent+" "+parent {
			t.Errorf("%q came as %q", odd[i], row)
		}
		if payload := []string{`'-5`, `{"session_id":"=s","a":"b,\"c\""}`}[i%2]; row[13] != payload || i%2 == 1 && row[10] != "'=s" {
			t.Errorf("%q", row)
		}
		for _, cell := range row {
			if cell != "" && strings.Contains("=+-@\t\r", cell[:1]) {
				t.Errorf("a formula: %q", cell)
			}
		}
	}
}

// TestExportIsFlat: a hundred thousand events go through without being gathered.
func TestExportIsFlat(t *testing.T) {
	const events = 100_000
	b := setup(t, func(o *httpapi.Options) { o.Store = endless{o.Store, events} })
	for _, format := range []string{"jsonl", "csv"} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", b.url+"/export?format="+format, nil)
		must(t, err)
		response, err := http.DefaultTransport.RoundTrip(r)
		must(t, err)
		var heaps []uint64
		lines := bufio.NewScanner(response.Body)
		lines.Buffer(nil, 1<<20)
		n, bytes := 0, 0
		for lines.Scan() {
			bytes += len(lines.Bytes())
			if n++; n%(events/10) == 0 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				heaps = append(heaps, m.HeapAlloc)
			}
		}
		must(t, lines.Err())
		_ = response.Body.Close()
		if n < events || n > events+1 || bytes < 30<<20 || response.Trailer.Get("Bb-Count") != fmt.Sprint(events) {
			t.Fatalf("%d lines of %d bytes, %v", n, bytes, response.Trailer)
		}
		for _, heap := range heaps {
			if heap > heaps[0]+10<<20 { // a quarter of what was written
				t.Errorf("%s: the heap grows: %v", format, heaps)
			}
		}
	}
}

// endless makes up its events as they are asked for.
type endless struct {
	store.Store
	n int
}

func (s endless) Last(context.Context) (int64, error) { return int64(s.n), nil }

func (s endless) Query(_ context.Context, q store.Query) (page store.Page, err error) {
	first := 0
	if q.Cursor != "" {
		if first, err = strconv.Atoi(q.Cursor); err != nil {
			return page, err
		}
	}
	for i := first; i < min(s.n, first+q.Limit); i++ {
		id, err := bloodbank.NewEventID()
		if err != nil {
			return page, err
		}
		e := bloodbank.Envelope{
			EventID: id, EventType: "my.own", Timestamp: filledFrom(), Version: bloodbank.Version, Source: bloodbank.Source{Host: "h", Type: bloodbank.SourceManual},
			Payload: fmt.Appendf(nil, `{"n":%d,"filler":%q}`, i, strings.Repeat("x", 200)),
		}
		raw, err := e.AppendJSON(nil)
		if err != nil {
			return page, err
		}
		page.Events = append(page.Events, store.Event{Sequence: int64(i + 1), Envelope: e, Raw: raw})
	}
	if first+q.Limit < s.n {
		page.Next = strconv.Itoa(first + q.Limit)
	}
	return page, nil
}

// failing breaks after some pages.
type failing struct {
	store.Store
	pages  atomic.Int64
	whole  int64
	err    error
	asked  chan struct{} // closed at the page that fails
	frozen bool          // it does not fail but waits for the caller to go
	gone   chan struct{} // closed when it has
}

func (f *failing) Query(ctx context.Context, q store.Query) (store.Page, error) {
	if f.pages.Add(1) <= f.whole {
		return f.Store.Query(ctx, q)
	}
	if f.frozen {
		close(f.asked)
		<-ctx.Done()
		close(f.gone)
		return store.Page{}, ctx.Err()
	}
	return store.Page{}, f.err
}

func TestExportThatFails(t *testing.T) {
	t.Parallel()
	for whole, status := range map[int64]int{0: 503, 2: 200} {
		f := &failing{whole: whole, err: bloodbank.Errorf(bloodbank.CodeUnavailable, "the disk burns")}
		b := setup(t, func(o *httpapi.Options) { f.Store, o.Store = o.Store, f })
		b.fill(2000, nil)
		r, err := http.NewRequestWithContext(t.Context(), "GET", b.url+"/export", nil)
		must(t, err)
		response, err := http.DefaultTransport.RoundTrip(r)
		must(t, err)
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if response.StatusCode != status {
			t.Errorf("%s", response.Status)
		}
		if status == 200 && (!errors.Is(err, io.ErrUnexpectedEOF) || strings.Count(string(body), "\n") != 1000 || response.Trailer.Get("Bb-Count") != "") {
			t.Errorf("the broken answer looks whole: %v, %d bytes, %v", err, len(body), response.Trailer)
		}
		if status == 200 && !strings.Contains(b.logged.String(), "the disk burns") {
			t.Errorf("nobody was told: %s", b.logged)
		}
	}
}

func TestExportEndsWithItsClient(t *testing.T) {
	t.Parallel()
	f := &failing{whole: 1, frozen: true, asked: make(chan struct{}), gone: make(chan struct{})}
	b := setup(t, func(o *httpapi.Options) { f.Store, o.Store = o.Store, f })
	b.fill(2000, nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", b.url+"/export", nil)
	must(t, err)
	response, err := http.DefaultTransport.RoundTrip(r)
	must(t, err)
	<-f.asked
	cancel()
	_ = response.Body.Close()
	<-f.gone
	b.waitFor(func() bool { return f.pages.Load() == 2 })
	if strings.Contains(b.logged.String(), "broke off") {
		t.Error(b.logged)
	}
}

// What is stored while an export runs does not make it longer.
func TestExportHasAnEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(700, nil)
	grows := &growing{b: b}
	b2 := setup(t, func(o *httpapi.Options) { grows.Store, o.Store = b.store, grows })
	a := b2.do("GET", "/export?order=asc", "")
	if n := strings.Count(string(a.body), "\n"); n != 700 || grows.pages < 3 {
		t.Errorf("%d events in %d pages", n, grows.pages)
	}
}

// growing gets more events with each of its first pages.
type growing struct {
	store.Store
	b     *bundle
	pages int
}

func (g *growing) Query(ctx context.Context, q store.Query) (store.Page, error) {
	if g.pages++; g.pages < 4 {
		g.b.fill(500, nil)
	}
	return g.Store.Query(ctx, q)
}

func TestExportFaults(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for query, want := range map[string]string{
		"?format=xml": "jsonl", "?order=up": "desc", "?q=type:": "empty value", "?limit=5": "limit", "?cursor=x": "cursor", "?x=1": "not known",
	} {
		checkFailure(t, query, b.do("GET", "/export"+query, ""), 400, bloodbank.CodeInvalid, want)
	}
}
