package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/33god/bloodbank/httpapi"
)

func checks(m map[string]error) func(context.Context) map[string]error {
	return func(context.Context) map[string]error { return m }
}

func TestHealth(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *httpapi.Options) {
		o.Checks = checks(map[string]error{"wal": nil})
		o.Status = func(context.Context) map[string]any { return map[string]any{"dispatch": map[string]int{"lag": 3}} }
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("m 1\n")) })
		o.Voice.ASR = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	})
	for path, want := range map[string]string{
		"/healthz": `{"ok":true,"service":"bloodbank","version":"1.2.3"}` + "\n",
		"/readyz":  `{"ready":true,"version":"1.2.3","checks":{"wal":{"ok":true}}}` + "\n",
		"/status":  `{"dispatch":{"lag":3},"service":"bloodbank","version":"1.2.3"}` + "\n",
		"/metrics": "m 1\n",
	} {
		if a := b.do("GET", path, ""); a.StatusCode != 200 || string(a.body) != want {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
	}
	if a := b.do("GET", "/asr", ""); a.StatusCode != http.StatusTeapot {
		t.Errorf("/asr: %d", a.StatusCode)
	}
	if a := b.do("GET", "/", ""); a.StatusCode != 200 || !strings.Contains(string(a.body), "/openapi.json") {
		t.Errorf("/: %d %s", a.StatusCode, a.body)
	}
	if a := b.do("HEAD", "/healthz", ""); a.StatusCode != 200 || len(a.body) != 0 {
		t.Errorf("HEAD: %d %q", a.StatusCode, a.body)
	}
}

func TestSchemas(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var list struct {
		Schemas []struct{ Type, Title string }
	}
	b.into(b.do("GET", "/schemas", ""), 200, &list)
	if len(list.Schemas) < 30 {
		t.Errorf("%d schemas", len(list.Schemas))
	}
	for _, s := range list.Schemas {
		a := b.do("GET", "/schemas/"+s.Type, "")
		if a.StatusCode != 200 || !json.Valid(a.body) || a.Header.Get("Content-Type") != "application/schema+json" {
			t.Errorf("%s: %d %s", s.Type, a.StatusCode, a.body)
		}
	}
	if a := b.do("POST", "/validate/"+promptType, prompt); a.StatusCode != 204 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}
