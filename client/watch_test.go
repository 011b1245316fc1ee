package client_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
)

// script answers each connect with the next of its streams, and notes the
// position that was asked for.
type script struct {
	streams []func(*http.Request) (*http.Response, error)
	asked   []string
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked = append(s.asked, r.Header.Get("Last-Event-Id"))
	next := s.streams[0]
	if len(s.streams) > 1 {
		s.streams = s.streams[1:]
	}
	return next(r)
}

// stream answers with text, and then with the end or with silence.
func stream(text string, silent bool) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		body := io.Reader(strings.NewReader(text))
		if silent {
			body = io.MultiReader(body, waiting{r})
		}
		return &http.Response{StatusCode: 200, Body: io.NopCloser(body), Request: r}, nil
	}
}

// waiting is a connection on which nothing comes.
type waiting struct{ r *http.Request }

func (w waiting) Read([]byte) (int, error) {
	<-w.r.Context().Done()
	return 0, w.r.Context().Err()
}

func status(code int) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: code, Status: fmt.Sprint(code), Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
	}
}

// watch runs a script in virtual time and returns what was yielded: sequences
// with their data, then the error, if any.
func watch(t *testing.T, s *script, r client.WatchRequest, stop int) (got []string, lost int, failed error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, err := client.New("http://x", client.Options{HTTPClient: &http.Client{Transport: s}})
		must(t, err)
		r.Lost = func(error) { lost++ }
		for event, err := range c.Watch(t.Context(), r) {
			if err != nil {
				failed = err
				continue
			}
			got = append(got, fmt.Sprint(event.Sequence, string(event.Raw)))
			if len(got) == stop {
				break
			}
		}
	})
	return got, lost, failed
}

func TestWatchResumes(t *testing.T) {
	t.Parallel()
	s := &script{streams: []func(*http.Request) (*http.Response, error){
		stream("retry: 1000\nid: 4\n: hi\n\nid: 5\ndata: {}\n\nid: 6\ndata: {\ndata: }\n\nid: 7\ndata: {\"cut\":", false),
		status(503),
		stream("id: 7\ndata: {\"whole\":1}\n\n: alone\n\nid: 20\n: far\n\n", true), // silent: cut off after a while
		stream("id:21\ndata:[]\n\n", true),
	}}
	got, lost, err := watch(t, s, client.WatchRequest{Since: -1}, 4)
	if want := []string{"5{}", "6{\n}", `7{"whole":1}`, "21[]"}; !slices.Equal(got, want) || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if want := []string{"", "6", "6", "20"}; !slices.Equal(s.asked, want) || lost != 3 {
		t.Errorf("asked %q, lost %d", s.asked, lost)
	}
}

func TestWatchBeginsWhereAsked(t *testing.T) {
	t.Parallel()
	s := &script{streams: []func(*http.Request) (*http.Response, error){stream("id: 1\ndata: 1\n\n", true)}}
	if _, _, err := watch(t, s, client.WatchRequest{}, 1); err != nil || s.asked[0] != "0" {
		t.Errorf("%v %q", err, s.asked)
	}
}

func TestWatchEndsOnRefusal(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]bloodbank.Code{400: bloodbank.CodeInvalid, 401: bloodbank.CodeUnauthorized, 503: bloodbank.CodeUnavailable} {
		s := &script{streams: []func(*http.Request) (*http.Response, error){status(code)}}
		if got, lost, err := watch(t, s, client.WatchRequest{}, 0); len(got) > 0 || bloodbank.CodeOf(err) != want || lost != 0 {
			t.Errorf("%d: %q %v %d", code, got, err, lost)
		}
	}
	s := &script{streams: []func(*http.Request) (*http.Response, error){stream(": hi\n\n", false), status(401)}}
	if _, lost, err := watch(t, s, client.WatchRequest{}, 0); bloodbank.CodeOf(err) != bloodbank.CodeUnauthorized || lost != 1 {
		t.Errorf("%v %d", err, lost)
	}
	s = &script{streams: []func(*http.Request) (*http.Response, error){stream("id: x\n\n", true)}}
	if _, _, err := watch(t, s, client.WatchRequest{}, 0); bloodbank.CodeOf(err) != bloodbank.CodeInvalid {
		t.Errorf("%v", err)
	}
}

// TestWatchWaitsLonger: the pauses grow to a bound, and begin anew once a stream
// has said something.
func TestWatchWaitsLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{streams: []func(*http.Request) (*http.Response, error){stream(": hi\n\n", false)}}
		for range 12 {
			s.streams = append(s.streams, status(503))
		}
		s.streams = append(s.streams, stream("id: 1\ndata: 1\n\n", true))
		c, err := client.New("http://x", client.Options{HTTPClient: &http.Client{Transport: s}})
		must(t, err)
		began := time.Now()
		for _, err := range c.Watch(t.Context(), client.WatchRequest{}) {
			must(t, err)
			break
		}
		if took := time.Since(began); took < 20*time.Second || took > 100*time.Second {
			t.Errorf("13 pauses took %v", took)
		}
	})
}
