package webui

import (
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func page(t *testing.T) *Page {
	t.Helper()
	p := New()
	if p == nil {
		t.Skip("built with noui: there is no page")
	}
	return p
}

func get(p http.Handler, path string, headers ...string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:8682"+path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestUIAssets reads what was built: all of it is there, none of it would break the
// policy or ask another server, and it stays small.
func TestUIAssets(t *testing.T) {
	t.Parallel()
	p := page(t)
	html := body(t, get(p, "/").Body)
	if !strings.Contains(html, `<div id="app">`) {
		t.Fatalf("this is not the page:\n%s", html)
	}
	for _, bad := range []string{`<script>`, `<style`, ` style="`, ` onload=`, ` onclick=`, `http://`, `https://`} {
		if strings.Contains(html, bad) {
			t.Errorf("the page holds %q, which its policy forbids", bad)
		}
	}
	references := regexp.MustCompile(`(?:src|href)="\./([^"]+)"`).FindAllStringSubmatch(html, -1)
	if len(references) < 3 {
		t.Errorf("the page refers to %d files; it should name its script, its style and its icon", len(references))
	}
	first := 0
	for _, m := range references {
		answer := get(p, "/"+m[1], "Accept-Encoding", "gzip")
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", m[1], answer.Status)
		}
		first += len(body(t, answer.Body))
	}
	if limit := 50 << 10; first > limit {
		t.Errorf("the first screen needs %d bytes; the limit is %d", first, limit)
	}
	checkFiles(t, p)
}

func checkFiles(t *testing.T, p *Page) {
	t.Helper()
	total := 0
	link := regexp.MustCompile(`https?://[^\s"'` + "`" + `)]+`)
	chunk := regexp.MustCompile(`["'](?:\./|assets/)([\w-]+\.(?:js|css|svg))["']`)
	for name, load := range p.packs {
		file, err := load()
		if err != nil {
			t.Fatal(err)
		}
		total += len(file.zipped)
		if size := len(file.zipped); size > 50<<10 {
			t.Errorf("%s has %d bytes", name, size)
		}
		for _, u := range link.FindAllString(string(file.plain), -1) {
			if !isHarmless(u) {
				t.Errorf("%s names another server: %s", name, u)
			}
		}
		for _, m := range chunk.FindAllStringSubmatch(string(file.plain), -1) {
			if _, ok := p.packs["assets/"+m[1]]; !ok {
				t.Errorf("%s refers to %s, which is not there", name, m[1])
			}
		}
	}
	if limit := 120 << 10; total > limit {
		t.Errorf("all files have %d bytes; the limit is %d", total, limit)
	}
}

// isHarmless knows names of XML vocabularies, links of error messages, and the
// addresses that the page shows as examples.
func isHarmless(u string) bool {
	return strings.HasPrefix(u, "http://www.w3.org/") || strings.HasPrefix(u, "https://svelte.dev/e/") ||
		strings.HasPrefix(u, "http://localhost")
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	h := get(page(t), "/").Header
	policy := h.Get("Content-Security-Policy")
	for _, part := range []string{
		"default-src 'none'", "script-src 'self';", "style-src 'self';", "frame-ancestors 'none'", "form-action 'none'",
		"connect-src 'self' ws://127.0.0.1:8682 wss://127.0.0.1:8682;",
		"require-trusted-types-for 'script'", "trusted-types svelte-trusted-html",
	} {
		if !strings.Contains(policy+";", part) {
			t.Errorf("the policy lacks %q: %s", part, policy)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is unsafe: %s", policy)
	}
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
		"Cache-Control": "no-cache", "Content-Type": "text/html; charset=utf-8",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if !strings.Contains(h.Get("Permissions-Policy"), "microphone=(self)") {
		t.Error("the page may not ask for the microphone")
	}
}

func TestHostCannotWidenThePolicy(t *testing.T) {
	t.Parallel()
	h := make(http.Header)
	setPolicy(h, "evil; script-src *")
	if policy := h.Get("Content-Security-Policy"); strings.Contains(policy, "evil") || !strings.Contains(policy, "connect-src 'self';") {
		t.Errorf("the host got into the policy: %s", policy)
	}
}

func made(t *testing.T) *Page {
	t.Helper()
	p, err := newPage(fstest.MapFS{
		"index.html":              {Data: []byte("<p>page</p>")},
		"assets/main-AbCd1234.js": {Data: []byte(strings.Repeat("code ", 200))},
		"assets/pcm-worklet.js":   {Data: []byte("worklet")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestServe(t *testing.T) {
	t.Parallel()
	p := made(t)
	for _, c := range []struct {
		path, cache, media string
		status             int
	}{
		{"/", "no-cache", "text/html; charset=utf-8", 200},
		{"/assets/main-AbCd1234.js", "public, max-age=31536000, immutable", "text/javascript; charset=utf-8", 200},
		{"/assets/pcm-worklet.js", "no-cache", "text/javascript; charset=utf-8", 200},
		{"/assets/old-AbCd1234.js", "", "text/plain; charset=utf-8", 404},
		{"/assets/", "", "text/plain; charset=utf-8", 404},
		{"/../webui.go", "", "text/plain; charset=utf-8", 404},
	} {
		a := get(p, c.path)
		got := fmt.Sprint(a.StatusCode, a.Header.Get("Cache-Control"), a.Header.Get("Content-Type"))
		if want := fmt.Sprint(c.status, c.cache, c.media); got != want {
			t.Errorf("%s: %s, want %s", c.path, got, want)
		}
	}
}

func TestServeZipsAndKeeps(t *testing.T) {
	t.Parallel()
	p := made(t)
	plain := get(p, "/assets/main-AbCd1234.js")
	zipped := get(p, "/assets/main-AbCd1234.js", "Accept-Encoding", "gzip, br")
	if zipped.Header.Get("Content-Encoding") != "gzip" {
		t.Fatal("a client that takes gzip did not get it")
	}
	r, err := gzip.NewReader(zipped.Body)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := body(t, plain.Body), body(t, r); a != b || a == "" {
		t.Errorf("the two forms differ: %q, %q", a, b)
	}
	again := get(p, "/assets/main-AbCd1234.js", "If-None-Match", plain.Header.Get("Etag"))
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("the file was sent again: %s", again.Status)
	}
}

func TestNoIndexNoPage(t *testing.T) {
	t.Parallel()
	if p, err := newPage(fstest.MapFS{}); err == nil {
		t.Errorf("an empty build made a page: %v", p)
	}
	if _, err := fs.Stat(embedded(), path.Clean(index)); err != nil && New() != nil {
		t.Error("there is a page without an index")
	}
}
