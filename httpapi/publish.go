package httpapi

import (
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/33god/bloodbank"
)

// appName stamps events whose sender names no source.
const appName = "http"

// publishing is what the caller asks for beside the events.
type publishing struct {
	wait       bloodbank.AckLevel
	permissive bool
	skip       bool
	// parents are inherited by events that name none.
	parents []bloodbank.EventID
	// eventID is for a payload alone.
	eventID bloodbank.EventID
}

// publish takes complete events: one, an array, lines, or CloudEvents.
func (s *Server) publish(w http.ResponseWriter, r *http.Request) {
	p, err := readPublishing(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	b, err := s.readBody(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	defer s.release(b)
	many, err := s.decode(r, b)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.accept(w, r, b, p, many)
}

// publishPayload takes a payload alone; its type is in the path, with slashes or
// dots.
func (s *Server) publishPayload(w http.ResponseWriter, r *http.Request) {
	p, err := readPublishing(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	eventType, err := bloodbank.ParseEventType(strings.ReplaceAll(strings.Trim(r.PathValue("type"), "/"), "/", "."))
	if err == nil {
		_, err = mediaType(r, mediaJSON)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	b, err := s.readBody(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	defer s.release(b)
	payload := trim(b.buf.Bytes())
	if err := checkValue(payload); err != nil {
		s.fail(w, r, err)
		return
	}
	// The gateway copies the payload into its record before it answers.
	_ = b.add(bloodbank.Envelope{EventID: p.eventID, EventType: eventType, Payload: payload}, nil)
	s.accept(w, r, b, p, false)
}

// accept hands the events of b to the gateway and answers with its receipts: 202,
// or 200 when a level above the log was asked for and reached by all.
func (s *Server) accept(w http.ResponseWriter, r *http.Request, b *body, p publishing, many bool) {
	for i := range b.requests {
		request := &b.requests[i]
		request.Decoded = true
		request.Ack, request.Permissive, request.SkipValidation, request.App = p.wait, p.permissive, p.skip, appName
		if len(request.Envelope.CorrelationIDs) == 0 {
			request.Envelope.CorrelationIDs = p.parents
		}
	}
	receipts, err := s.o.Gateway.AcceptAll(r.Context(), b.requests)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	status := http.StatusOK
	for _, receipt := range receipts {
		if p.wait == bloodbank.AckWAL || !reached(receipt.Ack, p.wait) {
			status = http.StatusAccepted
		}
	}
	b.buf.Reset() // the events are in the log; the buffer is free for the answer
	s.send(w, status, mediaJSON, appendReceipts(b.buf.AvailableBuffer(), receipts, many))
}

func reached(got, wanted bloodbank.AckLevel) bool {
	return got == wanted || got == bloodbank.AckStored
}

func appendReceipts(b []byte, receipts []bloodbank.Receipt, many bool) []byte {
	if !many {
		return append(appendReceipt(b, receipts[0]), '\n')
	}
	b = append(b, '[')
	for i, receipt := range receipts {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendReceipt(b, receipt)
	}
	return append(b, "]\n"...)
}

func appendReceipt(b []byte, r bloodbank.Receipt) []byte {
	b = append(b, `{"event_id":"`...)
	b = appendID(b, r.EventID)
	b = append(b, `","sequence":`...)
	b = strconv.AppendUint(b, r.Sequence, 10)
	b = append(b, `,"ack":"`...)
	b = append(b, r.Ack...)
	b = append(b, `","duplicate":`...)
	b = strconv.AppendBool(b, r.Duplicate)
	return append(b, '}')
}

func appendID(b []byte, id bloodbank.EventID) []byte {
	b = append(hex.AppendEncode(b, id[:4]), '-')
	b = append(hex.AppendEncode(b, id[4:6]), '-')
	b = append(hex.AppendEncode(b, id[6:8]), '-')
	b = append(hex.AppendEncode(b, id[8:10]), '-')
	return hex.AppendEncode(b, id[10:])
}

// readPublishing reads the caller's wishes from the query and the headers; the
// query wins.
func readPublishing(r *http.Request) (p publishing, err error) {
	p.wait = bloodbank.AckWAL
	if level := r.Header.Get("Bb-Wait"); level != "" {
		if p.wait, err = bloodbank.ParseAckLevel(level); err != nil {
			return p, err
		}
	}
	if list := r.Header.Get("Bb-Parents"); list != "" {
		if p.parents, err = parseIDs("Bb-Parents", strings.Split(list, ",")); err != nil {
			return p, err
		}
	}
	if r.URL.RawQuery == "" {
		return p, nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return p, bloodbank.Errorf(bloodbank.CodeInvalid, "the query of the address cannot be read: %w", err)
	}
	return p, p.readQuery(query)
}

func (p *publishing) readQuery(query url.Values) (err error) {
	if query.Has("wait") {
		if p.wait, err = bloodbank.ParseAckLevel(query.Get("wait")); err != nil {
			return err
		}
	}
	for name, flag := range map[string]*bool{"permissive": &p.permissive, "skip_validation": &p.skip} {
		if v := query.Get(name); v != "" {
			if *flag, err = strconv.ParseBool(v); err != nil {
				return bloodbank.Errorf(bloodbank.CodeInvalid, "%s must be true or false, not %q", name, short(v))
			}
		}
	}
	if v := query.Get("event_id"); v != "" {
		if p.eventID, err = bloodbank.ParseEventID(v); err != nil {
			return err
		}
	}
	if query.Has("parent") {
		p.parents, err = parseIDs("parent", query["parent"])
	}
	return err
}

func parseIDs(where string, texts []string) ([]bloodbank.EventID, error) {
	ids := make([]bloodbank.EventID, 0, len(texts))
	for _, text := range texts {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		id, err := bloodbank.ParseEventID(text)
		if err != nil {
			return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "%s: %w", where, err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// located says which of several events a fault belongs to.
func located(err error, i, n int) error {
	var e *bloodbank.Error
	if n == 1 || !errors.As(err, &e) {
		return err
	}
	at := bloodbank.Errorf(e.Code, "event %d of %d is refused, and so nothing was accepted: %s", i+1, n, e.Message)
	at.Details = []bloodbank.Detail{{Pointer: "/" + strconv.Itoa(i), Message: e.Message}}
	return at
}
