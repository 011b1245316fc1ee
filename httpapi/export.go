package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// exportPage is how many events are in memory at a time.
const exportPage = 500

// exportCount is the trailer that says how many events were written.
const exportCount = "Bb-Count"

// exporter writes events in one format.
type exporter struct {
	media, ending string
	head          string
	append        func(b []byte, e *store.Event) []byte
}

func exporters() map[string]exporter {
	return map[string]exporter{
		"jsonl": {mediaLines, "jsonl", "", appendLine},
		"csv":   {"text/csv; charset=utf-8; header=present", "csv", csvHead, appendCSV},
	}
}

// export answers with all that a filter finds, of what is stored when it begins,
// page by page. An answer that breaks off in the middle has no end: its
// connection is cut, so that nobody takes it for whole.
func (s *Server) export(w http.ResponseWriter, r *http.Request) {
	q, format, err := s.readExport(r)
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
	last, err := s.o.Store.Last(ctx)
	var page store.Page
	if err == nil {
		page, err = s.o.Store.Query(ctx, q)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	out := &exportStream{format: format, last: last, control: http.NewResponseController(w)}
	out.w = bufio.NewWriterSize(deadlined{w, out.control}, streamChunk)
	h := w.Header()
	h.Set("Content-Type", format.media)
	h.Set("Content-Disposition", `attachment; filename="bloodbank-events.`+format.ending+`"`)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Trailer", exportCount)
	if err := out.all(ctx, s.o.Store, q, page); err != nil {
		if r.Context().Err() == nil && !errors.Is(err, errGone) {
			s.o.Logger.Error("an export broke off", "request", h.Get("X-Request-Id"), "written", out.written, "error", err)
		}
		cutOff()
	}
	h.Set(exportCount, strconv.FormatInt(out.written, 10))
}

func (s *Server) readExport(r *http.Request) (q store.Query, format exporter, err error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, format, bloodbank.Errorf(bloodbank.CodeInvalid, "the query of the address cannot be read: %w", err)
	}
	name := query.Get("format")
	if name == "" {
		name = "jsonl"
	}
	format, ok := exporters()[name]
	if !ok {
		return q, format, bloodbank.Errorf(bloodbank.CodeInvalid, "format %q is not known; use jsonl or csv", short(name))
	}
	if query.Has("limit") || query.Has("cursor") {
		return q, format, bloodbank.Errorf(bloodbank.CodeInvalid, "an export is whole and takes no limit and no cursor; use GET /events for pages")
	}
	query.Del("format")
	if q, err = s.readQuery(r.Context(), query); err != nil {
		return q, format, err
	}
	q.Limit = exportPage
	return q, format, nil
}

// errGone says that the client takes no more.
var errGone = errors.New("httpapi: the client is gone")

type exportStream struct {
	w       *bufio.Writer
	control *http.ResponseController
	format  exporter
	last    int64 // what came later is left out
	written int64
	buf     []byte
}

// all writes the page and those behind it.
func (o *exportStream) all(ctx context.Context, from store.Store, q store.Query, page store.Page) (err error) {
	if err := o.control.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	if _, err := o.w.WriteString(o.format.head); err != nil {
		return err
	}
	for {
		for i := range page.Events {
			if err := o.event(&page.Events[i]); err != nil {
				return err
			}
		}
		if err := o.w.Flush(); err != nil {
			return err
		}
		if err := o.control.Flush(); err != nil {
			return errGone
		}
		if page.Next == "" {
			return nil
		}
		q.Cursor = page.Next
		if page, err = from.Query(ctx, q); err != nil {
			return err
		}
	}
}

func (o *exportStream) event(e *store.Event) error {
	if e.Sequence > o.last {
		return nil
	}
	o.buf = o.format.append(o.buf[:0], e)
	_, err := o.w.Write(o.buf)
	if cap(o.buf) > maxKept {
		o.buf = nil
	}
	o.written++
	return err
}

// deadlined gives each write its own time.
type deadlined struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (d deadlined) Write(p []byte) (int, error) {
	if err := d.control.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
		return 0, err
	}
	n, err := d.w.Write(p)
	if err != nil {
		return n, errGone
	}
	return n, nil
}

// appendLine adds the exact bytes as one line. Another program on the bus may have
// written line breaks between its tokens.
func appendLine(b []byte, e *store.Event) []byte {
	begin := len(b)
	b = append(b, e.Raw...)
	if bytes.ContainsAny(b[begin:], "\r\n") {
		for i := begin; i < len(b); i++ {
			if b[i] == '\r' || b[i] == '\n' {
				b[i] = ' '
			}
		}
	}
	return append(b, '\n')
}

const csvHead = "sequence,event_id,event_type,timestamp,version,source_host,source_type,source_app,agent_type,agent_name,session_id,correlation_ids,replay_of,payload\r\n"

// appendCSV adds a row after RFC 4180.
func appendCSV(b []byte, e *store.Event) []byte {
	env := &e.Envelope
	agentType, agentName := "", ""
	if a := env.AgentContext; a != nil {
		agentType = string(a.Type)
		if a.Name != nil {
			agentName = *a.Name
		}
	}
	parents := make([]string, len(env.CorrelationIDs))
	for i, id := range env.CorrelationIDs {
		parents[i] = id.String()
	}
	replay := ""
	if !env.ReplayOf.IsZero() {
		replay = env.ReplayOf.String()
	}
	for i, cell := range []string{
		strconv.FormatInt(e.Sequence, 10), env.EventID.String(), string(env.EventType), bloodbank.FormatTimestamp(env.Timestamp), env.Version,
		env.Source.Host, string(env.Source.Type), env.Source.App, agentType, agentName, env.SessionID(), strings.Join(parents, " "), replay, string(env.Payload),
	} {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendCell(b, cell)
	}
	return append(b, "\r\n"...)
}

// appendCell adds a cell. What a spreadsheet would take for a formula gets a ' in
// front: an event comes from anybody.
func appendCell(b []byte, cell string) []byte {
	if cell != "" && strings.IndexByte("=+-@\t\r", cell[0]) >= 0 {
		cell = "'" + cell
	}
	if !strings.ContainsAny(cell, "\",\r\n") && strings.TrimSpace(cell) == cell {
		return append(b, cell...)
	}
	b = append(b, '"')
	b = append(b, strings.ReplaceAll(cell, `"`, `""`)...)
	return append(b, '"')
}
