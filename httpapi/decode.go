package httpapi

import (
	"net/http"
	"slices"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/gateway"
)

// decode reads the events of b's body into b. many says that they came as a list,
// so that the answer is one too.
func (s *Server) decode(r *http.Request, b *body) (many bool, err error) {
	if given := r.Header.Get("Content-Type"); given != "" && given != mediaJSON || r.Header["Ce-Specversion"] != nil {
		return s.decodeMedia(r, b)
	}
	return s.decodeJSON(b)
}

func (s *Server) decodeMedia(r *http.Request, b *body) (many bool, err error) {
	data := b.buf.Bytes()
	media, err := mediaType(r, mediaJSON, mediaLines, mediaCloud, mediaCloudBatch)
	if bloodbank.IsCloudEvent(r.Header) && media != mediaCloud && media != mediaCloudBatch {
		return false, b.add(bloodbank.FromCloudEventHeaders(r.Header, data))
	}
	switch {
	case err != nil:
		return false, err
	case media == mediaCloud:
		return false, b.add(bloodbank.FromCloudEvent(data))
	case media == mediaCloudBatch:
		parts, err := splitArray(data, s.o.Limits.Events)
		return true, b.addAll(parts, err, bloodbank.FromCloudEvent)
	case media == mediaLines:
		parts, err := splitLines(data, s.o.Limits.Events)
		return true, b.addAll(parts, err, bloodbank.DecodeDraft)
	}
	return s.decodeJSON(b)
}

func (s *Server) decodeJSON(b *body) (many bool, err error) {
	data := trim(b.buf.Bytes())
	if len(data) > 0 && data[0] == '[' {
		parts, err := splitArray(data, s.o.Limits.Events)
		return true, b.addAll(parts, err, bloodbank.DecodeDraft)
	}
	return false, b.add(bloodbank.DecodeDraft(data))
}

// add takes what a decoder returns.
func (b *body) add(e bloodbank.Envelope, err error) error {
	if err == nil {
		b.requests = append(b.requests, gateway.Request{Envelope: e})
	}
	return err
}

func (b *body) addAll(parts [][]byte, err error, decode func([]byte) (bloodbank.Envelope, error)) error {
	if err != nil {
		return err
	}
	b.requests = slices.Grow(b.requests, len(parts))
	for i, part := range parts {
		if err := b.add(decode(part)); err != nil {
			return located(err, i, len(parts))
		}
	}
	return nil
}
