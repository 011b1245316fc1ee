package wsdoor_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice/wsdoor"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func request(url string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, url, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	g := wsdoor.Guard{Origins: []string{"https://app.example"}}
	for origin, want := range map[string]bloodbank.Code{
		"": "", "http://localhost:3000": "", "https://127.0.0.1": "", "http://[::1]:9": "", "https://app.example": "",
		"https://Bus.example:8682": "", "chrome-extension://abc": "",
		"https://evil.example": bloodbank.CodeForbidden, "https://app.example.evil": bloodbank.CodeForbidden,
		"http://localhost.evil": bloodbank.CodeForbidden, "null": bloodbank.CodeForbidden, "file://": bloodbank.CodeForbidden,
		"https://bus.example": bloodbank.CodeForbidden, "http://%zz": bloodbank.CodeForbidden,
	} {
		r := request("http://bus.example:8682/", "Origin", origin)
		if got := bloodbank.CodeOf(g.Check(r)); got != want {
			t.Errorf("origin %q: %q, want %q", origin, got, want)
		}
		if err := (wsdoor.Guard{Origins: []string{"*"}}).Check(r); err != nil {
			t.Errorf("origin %q where all may: %v", origin, err)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	g := wsdoor.Guard{Token: "secret"}
	for name, c := range map[string]struct {
		r    *http.Request
		want bloodbank.Code
	}{
		"none":            {request("/"), bloodbank.CodeUnauthorized},
		"query":           {request("/?token=secret"), ""},
		"wrong query":     {request("/?token=secre"), bloodbank.CodeUnauthorized},
		"bearer":          {request("/", "Authorization", "bearer secret"), ""},
		"token":           {request("/", "Authorization", "Token secret"), ""},
		"basic":           {request("/", "Authorization", "Basic secret"), bloodbank.CodeUnauthorized},
		"browser":         {request("/", "Sec-WebSocket-Protocol", "token, secret"), ""},
		"browser, twice":  {request("/", "Sec-WebSocket-Protocol", "bearer", "Sec-WebSocket-Protocol", "secret"), ""},
		"other protocols": {request("/", "Sec-WebSocket-Protocol", "chat, secret"), bloodbank.CodeUnauthorized},
	} {
		if got := bloodbank.CodeOf(g.Check(c.r)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if err := (wsdoor.Guard{}).Check(request("/")); err != nil {
		t.Errorf("where no token is asked for: %v", err)
	}
	if got := bloodbank.CodeOf((wsdoor.Guard{}).CheckSocket(request("/"))); got != bloodbank.CodeInvalid {
		t.Errorf("no WebSocket: %q", got)
	}
	if err := (wsdoor.Guard{}).CheckSocket(request("/", "Upgrade", "WebSocket")); err != nil {
		t.Errorf("a WebSocket: %v", err)
	}
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err         error
		status      int
		header, has string
	}{
		{bloodbank.Errorf(bloodbank.CodeUnavailable, "full"), 503, "Retry-After", "5"},
		{bloodbank.Errorf(bloodbank.CodeUnauthorized, "no token"), 401, "WWW-Authenticate", "Bearer"},
		{fmt.Errorf("open: %w", bloodbank.Errorf(bloodbank.CodeForbidden, "foreign")), 403, "Retry-After", ""},
		{errors.New("broken"), 500, "WWW-Authenticate", ""},
	} {
		w := httptest.NewRecorder()
		wsdoor.Refuse(w, c.err)
		var body struct {
			Error  struct{ Code, Message string }
			Detail string
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Detail == "" || body.Error.Message != body.Detail {
			t.Errorf("%v: %s (%v)", c.err, w.Body, err)
		}
		if w.Code != c.status || w.Header().Get(c.header) != c.has {
			t.Errorf("%v: %d, %s %q", c.err, w.Code, c.header, w.Header().Get(c.header))
		}
	}
}

func FuzzControl(f *testing.F) {
	for _, text := range []string{`{"type":"KeepAlive"}`, ` {"type":"Finalize","x":[1]} `, `{"type":null}`, `{"Type":"CloseStream"}`, `"KeepAlive"`, `{"type":"a"}{"type":"b"}`, "", "\xff"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		control, err := wsdoor.ParseControl(frame)
		var m map[string]any
		object := json.Unmarshal(frame, &m) == nil && m != nil
		switch {
		case err != nil:
			if bloodbank.CodeOf(err) != bloodbank.CodeInvalid || control != "" {
				t.Errorf("%q: %q, %v", frame, control, err)
			}
			if kind, ok := m["type"].(string); ok && object && len(m) == 1 && len(frame) <= wsdoor.MaxControl {
				t.Errorf("%q of type %q is refused", frame, kind)
			}
		case !object || len(frame) > wsdoor.MaxControl:
			t.Errorf("%q is taken", frame)
		}
	})
}

func TestControlThatIsTooLarge(t *testing.T) {
	t.Parallel()
	frame := `{"type":"KeepAlive","x":"` + strings.Repeat("x", wsdoor.MaxControl) + `"}`
	if _, err := wsdoor.ParseControl([]byte(frame)); bloodbank.CodeOf(err) != bloodbank.CodeInvalid {
		t.Errorf("taken: %v", err)
	}
}
