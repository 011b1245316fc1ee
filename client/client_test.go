package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
)

// answering returns a client of a server that answers everything with handler.
func answering(t *testing.T, handler http.HandlerFunc) *client.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c, err := client.New(server.URL, client.Options{Token: "secret", UserAgent: "test/1"})
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "127.0.0.1:8682", "localhost:8682", "ftp://x", "http://", "http://x?a=b", "http://x#y", "http://u:pw@x", "http://a b"} {
		if _, err := client.New(bad, client.Options{}); bloodbank.CodeOf(err) != bloodbank.CodeInvalid || strings.Contains(err.Error(), "pw") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for given, want := range map[string]string{"http://x:1/": "http://x:1", "https://x/bb/": "https://x/bb"} {
		if c, err := client.New(given, client.Options{}); err != nil || c.URL() != want {
			t.Errorf("%q: %v %v", given, c, err)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := "http://" + listener.Addr().String()
	must(t, listener.Close())
	c, err := client.New(address, client.Options{})
	must(t, err)
	_, err = c.Status(t.Context())
	if bloodbank.CodeOf(err) != bloodbank.CodeUnavailable || !errors.Is(err, client.ErrNoServer) || !strings.Contains(err.Error(), "bb up") || !strings.Contains(err.Error(), address) {
		t.Errorf("%v", err)
	}
	for _, err := range c.Watch(t.Context(), client.WatchRequest{}) {
		if !errors.Is(err, client.ErrNoServer) {
			t.Errorf("%v", err)
		}
	}
}

func TestErrorsAreTheServers(t *testing.T) {
	t.Parallel()
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" || r.Header.Get("User-Agent") != "test/1" {
			t.Errorf("headers %v", r.Header)
		}
		w.WriteHeader(422)
		_, _ = io.WriteString(w, `{"error":{"code":"schema","message":"broken","details":[{"pointer":"/a","message":"b"}]},"detail":"broken"}`)
	})
	_, err := c.Publish(t.Context(), client.PublishRequest{Type: "a.b", Payload: []byte("{}")})
	var e *bloodbank.Error
	if !errors.As(err, &e) || e.Code != bloodbank.CodeSchema || e.Message != "broken" || len(e.Details) != 1 || e.Details[0].Pointer != "/a" {
		t.Errorf("%#v", err)
	}
}

// TestForeignAnswers: whatever answers, the error has a code and names the address.
func TestForeignAnswers(t *testing.T) {
	t.Parallel()
	for status, code := range map[int]bloodbank.Code{
		301: bloodbank.CodeInvalid, 400: bloodbank.CodeInvalid, 401: bloodbank.CodeUnauthorized, 403: bloodbank.CodeForbidden, 404: bloodbank.CodeNotFound,
		413: bloodbank.CodeTooLarge, 429: bloodbank.CodeOverloaded, 431: bloodbank.CodeInvalid, 500: bloodbank.CodeUnavailable, 502: bloodbank.CodeUnavailable,
		503: bloodbank.CodeUnavailable, 504: bloodbank.CodeTimeout,
	} {
		c := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<html>proxy</html>")
		})
		if _, err := c.Events(t.Context(), client.EventsRequest{}); bloodbank.CodeOf(err) != code || !strings.Contains(err.Error(), c.URL()) {
			t.Errorf("%d: %v", status, err)
		}
	}
	c := answering(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") })
	if _, err := c.Schemas(t.Context()); bloodbank.CodeOf(err) != bloodbank.CodeInternal || !strings.Contains(err.Error(), "no Bloodbank") {
		t.Errorf("%v", err)
	}
	c = answering(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503); _, _ = io.WriteString(w, "{}") })
	if _, err := c.Ready(t.Context()); err == nil {
		t.Error("some other server counts as one of ours")
	}
}

func TestGivingUp(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	c := answering(t, func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	if _, err := c.Status(ctx); bloodbank.CodeOf(err) != bloodbank.CodeTimeout || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestCallsEnd: a server that never answers costs a minute, not for ever.
func TestCallsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		silent := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}
		c, err := client.New("http://x", client.Options{HTTPClient: silent})
		must(t, err)
		if _, err := c.Status(t.Context()); bloodbank.CodeOf(err) != bloodbank.CodeTimeout {
			t.Errorf("%v", err)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestPublishStamps(t *testing.T) {
	t.Parallel()
	var sent []bloodbank.Envelope
	var asked string
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		asked = r.URL.RawQuery
		if body[0] == '[' {
			if err := json.Unmarshal(body, &sent); err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(w, "[{},{}]")
			return
		}
		e, err := bloodbank.DecodeEnvelope(body) // whole, not a draft
		if err != nil {
			t.Error(err)
		}
		sent = []bloodbank.Envelope{e}
		_, _ = io.WriteString(w, `{"event_id":"`+e.EventID.String()+`","sequence":7,"ack":"bus","duplicate":true}`)
	})
	payload := `{"b":"<&>","n":12345678901234567890}`
	receipt, err := c.Publish(t.Context(), client.PublishRequest{Type: "a.b", Payload: []byte(payload), Wait: bloodbank.AckBus, Permissive: true, SkipValidation: true})
	must(t, err)
	e := sent[0]
	if receipt.EventID != e.EventID || receipt.Sequence != 7 || receipt.Ack != bloodbank.AckBus || !receipt.Duplicate {
		t.Errorf("%+v", receipt)
	}
	if asked != "permissive=true&skip_validation=true&wait=bus" {
		t.Errorf("asked for %s", asked)
	}
	if e.EventID.IsZero() || e.EventType != "a.b" || string(e.Payload) != payload || e.Source.App != "test" || e.Source.Host == "" || e.Version != bloodbank.Version || time.Since(e.Timestamp) > time.Hour {
		t.Errorf("%+v", e)
	}
	receipts, err := c.PublishAll(t.Context(), client.PublishAllRequest{Envelopes: []bloodbank.Envelope{e, {EventType: "c.d", Payload: []byte("1")}}})
	if err != nil || len(receipts) != 2 || len(sent) != 2 || sent[0].EventID != e.EventID || sent[1].EventType != "c.d" {
		t.Errorf("%v %v %+v", receipts, err, sent)
	}
}

func TestPublishRefusesHere(t *testing.T) {
	t.Parallel()
	c := answering(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	for _, r := range []client.PublishRequest{{}, {Type: "a.b"}, {Type: "a", Payload: []byte("1")}, {Type: "a.b", Payload: []byte(`1,"x":2`)}} {
		if _, err := c.Publish(t.Context(), r); bloodbank.CodeOf(err) != bloodbank.CodeInvalid {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if receipts, err := c.PublishAll(t.Context(), client.PublishAllRequest{}); err != nil || receipts != nil {
		t.Errorf("%v %v", receipts, err)
	}
}
