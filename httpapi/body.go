package httpapi

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/gateway"
)

// What goes back into the pool is at most this large: bytes, and events.
const (
	maxKept         = 1 << 20
	maxKeptRequests = 256
)

// body is a request's body in memory, and the events read from it; both are used
// again.
type body struct {
	buf      bytes.Buffer
	requests []gateway.Request
}

// readBody reads the whole body within the limit, inflated where it is gzip. The
// caller gives it back with release.
func (s *Server) readBody(r *http.Request) (*body, error) {
	limit := s.o.Limits.Body
	if r.ContentLength > limit {
		return nil, s.tooLarge()
	}
	b := s.bodies.Get().(*body)
	b.buf.Reset()
	if err := s.fill(b, r, limit); err != nil {
		s.release(b)
		return nil, err
	}
	return b, nil
}

func (s *Server) release(b *body) {
	clear(b.requests) // the pool must not keep events alive
	b.requests = b.requests[:0]
	if b.buf.Cap() <= maxKept && cap(b.requests) <= maxKeptRequests {
		s.bodies.Put(b)
	}
}

func (s *Server) fill(b *body, r *http.Request, limit int64) error {
	from := io.Reader(r.Body)
	switch encoding := r.Header.Get("Content-Encoding"); strings.ToLower(encoding) {
	case "", "identity":
		if r.ContentLength > 0 { // believed for the first 64 KiB only
			b.buf.Grow(int(min(r.ContentLength, 64<<10)) + bytes.MinRead)
		}
	case "gzip":
		inflated, err := gzip.NewReader(from)
		if err != nil {
			return unreadable(err)
		}
		from = inflated
	default:
		return bloodbank.Errorf(bloodbank.CodeUnsupported, "content encoding %q is not taken; send the body plain or as gzip", short(encoding))
	}
	n, err := b.buf.ReadFrom(io.LimitReader(from, limit+1))
	if n > limit {
		return s.tooLarge()
	}
	if err != nil {
		return unreadable(err)
	}
	return nil
}

func (s *Server) tooLarge() error {
	return bloodbank.Errorf(bloodbank.CodeTooLarge, "the body is over the limit of %d bytes; send fewer events at once", s.o.Limits.Body)
}

func unreadable(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return bloodbank.Errorf(bloodbank.CodeTimeout, "the body did not arrive in time; nothing was accepted: %w", err)
	}
	return bloodbank.Errorf(bloodbank.CodeInvalid, "the body cannot be read to its end; nothing was accepted: %w", err)
}

// Media types of request bodies.
const (
	mediaJSON       = "application/json"
	mediaLines      = "application/x-ndjson"
	mediaCloud      = "application/cloudevents+json"
	mediaCloudBatch = "application/cloudevents-batch+json"
)

// mediaType returns the one of the taken types that the body has. A body without
// a type is JSON.
func mediaType(r *http.Request, taken ...string) (string, error) {
	given := r.Header.Get("Content-Type")
	if given == "" || given == mediaJSON {
		return mediaJSON, nil
	}
	media, params, err := mime.ParseMediaType(given)
	if charset := params["charset"]; err == nil && (charset == "" || strings.EqualFold(charset, "utf-8")) {
		if media == "application/ndjson" || media == "application/jsonl" {
			media = mediaLines
		}
		for _, t := range taken {
			if media == t {
				return t, nil
			}
		}
	}
	return "", bloodbank.Errorf(bloodbank.CodeUnsupported, "content type %q is not taken here; send %s in UTF-8", short(given), strings.Join(taken, ", "))
}

// wants reports whether the caller asks for this media type by name.
func wants(r *http.Request, media string) bool {
	for _, accept := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(accept, ",") {
			name, _, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(name), media) {
				return true
			}
		}
	}
	return false
}
