package httpapi_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/33god/bloodbank/httpapi"
)

const browser = "text/html,application/xhtml+xml,*/*;q=0.8"

// withPage serves a page that says which file was asked for.
func withPage(o *httpapi.Options) {
	o.Page = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, "page", r.URL.Path) })
}

func pageGet(t *testing.T, b *bundle, path, accept, token string) (int, string, http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+path, nil)
	must(t, err)
	r.Header.Set("Accept", accept)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(r)
	must(t, err)
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	must(t, err)
	return answer.StatusCode, string(body), answer.Header
}

func TestPageIsForBrowsers(t *testing.T) {
	t.Parallel()
	b := setup(t, withPage)
	const id = "550e8400-e29b-41d4-a716-446655440000"
	for _, c := range []struct {
		path, accept string
		status       int
		body         string
	}{
		{"/", browser, 200, "page/"},
		{"/", "*/*", 200, `"service":"bloodbank"`},
		{"/", "application/json", 200, `"service":"bloodbank"`},
		{"/assets/x.js", "*/*", 200, "page/assets/x.js"},
		{"/e/" + id, browser, 302, ""},
		{"/e/" + id, "application/json", 404, "not found"},
		{"/e/nonsense", browser, 400, "Invalid UUID"},
	} {
		status, body, header := pageGet(t, b, c.path, c.accept, "")
		if status != c.status || !strings.Contains(body, c.body) {
			t.Errorf("%s for %s: %d %s", c.path, c.accept, status, body)
		}
		if want := "../#/e/" + id; status == 302 && header.Get("Location") != want {
			t.Errorf("the short link leads to %s, want %s", header.Get("Location"), want)
		}
		if c.path == "/" && !strings.Contains(header.Get("Vary"), "Accept") {
			t.Errorf("%s for %s: a cache could mix up the two answers: Vary is %q", c.path, c.accept, header.Get("Vary"))
		}
	}
}

func TestWithoutPage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if status, body, _ := pageGet(t, b, "/", browser, ""); status != 200 || !strings.Contains(body, `"service"`) {
		t.Errorf("without a page / answers %d %s", status, body)
	}
	if status, _, _ := pageGet(t, b, "/assets/x.js", browser, ""); status != 404 {
		t.Errorf("without a page its files answer %d", status)
	}
}

// TestPageBeforeToken: a browser cannot show a token before it has the page that asks
// for it; nothing but the page's own files is open.
func TestPageBeforeToken(t *testing.T) {
	t.Parallel()
	b := setup(t, withPage, func(o *httpapi.Options) { o.Tokens = []string{"secret"} })
	const id = "550e8400-e29b-41d4-a716-446655440000"
	for _, c := range []struct {
		path, accept, token string
		status              int
	}{
		{"/", browser, "", 200},
		{"/assets/x.js", "*/*", "", 200},
		{"/e/" + id, browser, "", 302},
		{"/", "*/*", "", 401},
		{"/e/" + id, "*/*", "", 401},
		{"/events", browser, "", 401},
		{"/assets/../events", browser, "", 401},
		{"/e/../events", browser, "", 401},
		{"/events", browser, "secret", 200},
	} {
		if status, body, _ := pageGet(t, b, c.path, c.accept, c.token); status != c.status {
			t.Errorf("%s for %s with token %q: %d, want %d: %s", c.path, c.accept, c.token, status, c.status, body)
		}
	}
}
