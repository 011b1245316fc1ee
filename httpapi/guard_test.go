package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/httpapi"
	"github.com/33god/bloodbank/live"
	"github.com/33god/bloodbank/schema"
)

// serve asks a server that is not listening, from any address.
func serve(t *testing.T, o httpapi.Options, method, path, from, host string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	schemas, err := schema.Open(t.Context(), schema.Options{})
	must(t, err)
	o.Schemas, o.Live = schemas, live.New(live.Options{})
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader("{}"))
	r.RemoteAddr, r.Host = from, host
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	httpapi.New(o).ServeHTTP(w, r)
	return w
}

func TestWhoMayCall(t *testing.T) {
	t.Parallel()
	const local, remote = "127.0.0.1:4711", "192.0.2.1:4711"
	none, tokens, open := httpapi.Options{}, httpapi.Options{Tokens: []string{"right", " other "}}, httpapi.Options{Insecure: true}
	named := httpapi.Options{Hosts: []string{"bb.example"}}
	for _, c := range []struct {
		name       string
		o          httpapi.Options
		path       string
		from, host string
		token      string
		status     int
	}{
		{"this machine", none, "/schemas", local, "localhost:8682", "", 200},
		{"this machine, IPv6", none, "/schemas", "[::1]:4711", "[::1]:8682", "", 200},
		{"this machine, IPv4 in IPv6", none, "/schemas", "[::ffff:127.0.0.1]:4711", "127.0.0.1:8682", "", 200},
		{"this machine, subdomain", none, "/schemas", local, "bb.localhost", "", 200},
		{"this machine by another name", none, "/schemas", local, "evil.example", "", 403},
		{"this machine by a name that ends alike", none, "/schemas", local, "evillocalhost", "", 403},
		{"this machine by its proxy's name", named, "/schemas", local, "bb.example:443", "", 200},
		{"another machine", none, "/schemas", remote, "localhost", "", 401},
		{"another machine, open server", open, "/schemas", remote, "anything", "", 200},
		{"another machine, token", tokens, "/schemas", remote, "anything", "Bearer right", 200},
		{"another token", tokens, "/schemas", remote, "anything", "bearer other", 200},
		{"wrong token", tokens, "/schemas", remote, "anything", "Bearer wrong", 401},
		{"front of a token", tokens, "/schemas", remote, "anything", "Bearer righ", 401},
		{"empty token", tokens, "/schemas", remote, "anything", "Bearer ", 401},
		{"no token", tokens, "/schemas", local, "localhost", "", 401},
		{"other scheme", tokens, "/schemas", local, "localhost", "Basic right", 401},
		{"health needs none", tokens, "/healthz", remote, "anything", "", 200},
		{"readiness needs none", none, "/readyz", remote, "anything", "", 200},
		{"voice with a token in the address", tokens, "/asr?token=right", remote, "anything", "", 503},
		{"voice with WhisperLiveKit's scheme", tokens, "/asr", remote, "anything", "Token right", 503},
		{"voice with a wrong token", tokens, "/asr?token=wrong", remote, "anything", "", 403},
		{"voice without a token", tokens, "/asr", local, "localhost", "", 403},
		{"a token in the address elsewhere", tokens, "/schemas?token=right", remote, "anything", "", 401},
		{"nothing there needs one", tokens, "/nothing", remote, "anything", "", 401},
	} {
		w := serve(t, c.o, "GET", c.path, c.from, c.host, "Authorization", c.token)
		if w.Code != c.status {
			t.Errorf("%s: %d, want %d: %s", c.name, w.Code, c.status, w.Body)
		}
		if (w.Code == 401) != (w.Header().Get("Www-Authenticate") != "") {
			t.Errorf("%s: Www-Authenticate %q", c.name, w.Header().Get("Www-Authenticate"))
		}
		if strings.Contains(w.Body.String(), "right") {
			t.Errorf("%s: the answer holds a token: %s", c.name, w.Body)
		}
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method, host, origin string
		status               int
	}{
		{"POST", "localhost:8682", "", 204},
		{"POST", "localhost:8682", "http://localhost:8682", 204},
		{"POST", "localhost:8682", "http://127.0.0.1:5173", 204},
		{"POST", "localhost:8682", "http://[::1]:5173", 204},
		{"POST", "bb.example", "https://bb.example", 204},
		{"POST", "bb.example", "https://BB.example", 204},
		{"POST", "bb.example", "https://evil.example", 403},
		{"POST", "bb.example:8682", "https://bb.example", 403},
		{"POST", "localhost:8682", "http://localhost.evil.example", 403},
		{"POST", "localhost:8682", "null", 403},
		{"POST", "localhost:8682", "::", 403},
	} {
		w := serve(t, httpapi.Options{Insecure: true}, c.method, "/validate/artifact.created", "127.0.0.1:1", c.host, "Origin", c.origin)
		if got := w.Code; got != c.status && !(c.status == 204 && got == 422) { // 422: it was looked at
			t.Errorf("%s %s from %s: %d, want %d", c.method, c.host, c.origin, got, c.status)
		}
		if w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Error("answers may be read by other sites")
		}
	}
}

func TestReadinessHidesReasons(t *testing.T) {
	t.Parallel()
	o := httpapi.Options{Tokens: []string{"t"}, Checks: checks(map[string]error{
		"bus": bloodbank.Errorf(bloodbank.CodeUnavailable, "cannot reach 10.0.0.1"), "wal": nil,
	})}
	if w := serve(t, o, "GET", "/readyz", "192.0.2.1:1", "x"); w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "10.0.0.1") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := serve(t, o, "GET", "/readyz", "192.0.2.1:1", "x", "Authorization", "Bearer t"); !strings.Contains(w.Body.String(), `"bus":{"ok":false,"error":"cannot reach 10.0.0.1"}`) || !strings.Contains(w.Body.String(), `"wal":{"ok":true}`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Deepgram's clients in a browser show their token among the subprotocols.
func TestVoiceTokenAsSubprotocol(t *testing.T) {
	t.Parallel()
	tokens := httpapi.Options{Tokens: []string{"right"}}
	for protocols, want := range map[string]int{"token, right": 503, "bearer,right": 503, "token, wrong": 403, "right": 403, "": 403} {
		if w := serve(t, tokens, "GET", "/v1/listen", "192.0.2.1:4711", "anything", "Sec-WebSocket-Protocol", protocols); w.Code != want {
			t.Errorf("%q: %d, want %d", protocols, w.Code, want)
		}
	}
}
