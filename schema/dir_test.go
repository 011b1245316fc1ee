package schema_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/schema"
)

// folder writes files into a new folder.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFolderAddsTypes(t *testing.T) {
	t.Parallel()
	r := open(t, folder(t, map[string]string{
		"shop.order.placed.json":             `{"type":"object","required":["n"],"title":"Order","examples":[{}, {"n":1}]}`,
		"shop.order.paid.v2.schema.json":     `{"type":"object","x-class":"OrderPaid"}`,
		"anything.json":                      `{"x-event-type":"shop.order.shipped","x-domain":"shop/orders","x-command":true}`,
		"shop.order.lost.schema.json":        `{}`,
		"notes.txt":                          `not a schema`,
		"_money.json":                        `{"definitions":{"amount":{"type":"integer","minimum":1}}}`,
		"shop.order.refunded.json":           `{"properties":{"amount":{"$ref":"_money.json#/definitions/amount"}}}`,
		"shop.order.copied.json":             `{"$ref":"shop.order.placed.json"}`,
		"shop.order.identified.json":         `{"$id":"https://example.com/schemas/identified.json","properties":{"a":{"$ref":"_money.json#/definitions/amount"}}}`,
		"shop.order.referred.json":           `{"properties":{"a":{"$ref":"https://example.com/schemas/identified.json"}}}`,
		"shop.order.spoken.json":             `{"properties":{"voice":{"$ref":"urn:33god:holyfields:transcription.voice.completed:v1"}}}`,
		"shop.order.strict.2020.schema.json": `{"$schema":"https://json-schema.org/draft/2020-12/schema","properties":{"at":{"format":"date-time"}},"unevaluatedProperties":false}`,
	}))
	for _, row := range []struct {
		name    bloodbank.EventType
		payload string
		pointer string // of the one fault; "ok" for none
	}{
		{"shop.order.placed", `{"n":1}`, "ok"},
		{"shop.order.placed", `{}`, ""},
		{"shop.order.paid", `{}`, "ok"},
		{"shop.order.shipped", `[]`, "ok"},
		{"shop.order.lost", `5`, "ok"},
		{"shop.order.refunded", `{"amount":0}`, "/amount"},
		{"shop.order.refunded", `{"amount":7}`, "ok"},
		{"shop.order.copied", `{}`, ""},
		{"shop.order.identified", `{"a":0}`, "/a"},
		{"shop.order.referred", `{"a":{"a":0}}`, "/a/a"},
		{"shop.order.spoken", `{"voice":{"text":""}}`, "/voice/text"},
		{"shop.order.strict.2020", `{"at":"soon"}`, "/at"},
		{"shop.order.strict.2020", `{"at":"2026-01-27T10:00:00Z","b":1}`, "/b"},
	} {
		err := r.Validate(row.name, []byte(row.payload))
		if row.pointer == "ok" {
			if err != nil {
				t.Errorf("%s %s: %v", row.name, row.payload, err)
			}
			continue
		}
		if got := details(t, err); !has(got, row.pointer, "") {
			t.Errorf("%s %s: got %v, want a fault at %q", row.name, row.payload, got, row.pointer)
		}
	}
	placed, _ := r.Lookup("shop.order.placed")
	if placed.Origin != schema.OriginFile || placed.Domain != "shop" || placed.SchemaID != "shop.order.placed.json" || placed.Title != "Order" {
		t.Errorf("%+v", placed)
	}
	if shipped, _ := r.Lookup("shop.order.shipped"); shipped.Domain != "shop/orders" || !shipped.Command {
		t.Errorf("%+v", shipped)
	}
	if paid, _ := r.Lookup("OrderPaid"); paid.Type != "shop.order.paid" {
		t.Errorf("%+v", paid)
	}
	if example, _ := r.Example("shop.order.placed"); string(example) != `{"n":1}` {
		t.Errorf("example %s: the first one is not valid and must be passed over", example)
	}
	if _, ok := r.Example("shop.order.paid"); ok {
		t.Error("an example out of nothing")
	}
	if len(r.Types()) != 37+10 {
		t.Errorf("%d types", len(r.Types()))
	}
}

func TestFolderOverridesEmbedded(t *testing.T) {
	t.Parallel()
	r := open(t, folder(t, map[string]string{"llm.prompt.json": `{"required":["mood"]}`}))
	if info, _ := r.Lookup("llm.prompt"); info.Origin != schema.OriginFile {
		t.Errorf("%+v", info)
	}
	if err := r.Validate("llm.prompt", []byte(`{"mood":"good"}`)); err != nil {
		t.Error(err)
	}
	if len(r.Types()) != 37 {
		t.Errorf("%d types", len(r.Types()))
	}
}

func TestBrokenFilesAreAllNamed(t *testing.T) {
	t.Parallel()
	_, err := schema.Open(t.Context(), schema.Options{Dir: folder(t, map[string]string{
		"a.syntax.json":    "{\n  \"type\": oops\n}",
		"a.cut.json":       `{"type":`,
		"a.empty.json":     ``,
		"a.list.json":      `[]`,
		"a.keyword.json":   `{"properties":{"n":{"type":"nummer","minimum":"x"}}}`,
		"a.regex.json":     `{"pattern":"(?!a)"}`,
		"a.remote.json":    `{"$ref":"https://example.com/other.json"}`,
		"a.missing.json":   `{"$ref":"nowhere.json"}`,
		"a.anchor.json":    `{"$ref":"#/definitions/none"}`,
		"a.heading.json":   `{"x-command":"yes"}`,
		"a.twice.json":     `{"type":"object","type":"string"}`,
		"single.json":      `{}`,
		"two.a.json":       `{"x-event-type":"shop.same"}`,
		"two.b.json":       `{"x-event-type":"shop.same"}`,
		"good.enough.json": `{"type":"object"}`,
	})})
	var e *bloodbank.Error
	if !errors.As(err, &e) || e.Code != bloodbank.CodeInvalid {
		t.Fatalf("got %v", err)
	}
	for _, want := range []bloodbank.Detail{
		{Pointer: "a.syntax.json:2:11", Message: "invalid character 'o'"},
		{Pointer: "a.cut.json:1:9", Message: "unexpected"},
		{Pointer: "a.empty.json:1:1", Message: "EOF"},
		{Pointer: "a.list.json", Message: "must be a JSON object"},
		{Pointer: "a.keyword.json#/properties/n/type", Message: ""},
		{Pointer: "a.keyword.json#/properties/n/minimum", Message: "must be number, not string"},
		{Pointer: "a.regex.json#/pattern", Message: "(?!"},
		{Pointer: "a.remote.json", Message: "https://example.com/other.json is not in the schema folder"},
		{Pointer: "a.missing.json", Message: "nowhere.json is not in the schema folder"},
		{Pointer: "a.anchor.json", Message: "/definitions/none"},
		{Pointer: "a.heading.json", Message: "x-command must not be"},
		{Pointer: "a.twice.json", Message: "twice"},
		{Pointer: "single.json", Message: "invalid event_type"},
		{Pointer: "two.b.json", Message: "describes shop.same, which two.a.json describes already"},
	} {
		if !has(e.Details, want.Pointer, want.Message) {
			t.Errorf("%s %q is not among\n%v", want.Pointer, want.Message, e)
		}
	}
	if strings.Contains(err.Error(), "good.enough") || strings.Contains(err.Error(), "file://") {
		t.Errorf("the error says too much:\n%v", err)
	}
}

func TestFolderThatCannotBeRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := schema.Open(t.Context(), schema.Options{Dir: filepath.Join(dir, "none")})
	if bloodbank.CodeOf(err) != bloodbank.CodeInvalid || !strings.Contains(err.Error(), "--schema-dir") {
		t.Errorf("missing folder: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "x.y.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := schema.Open(t.Context(), schema.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder named like a schema: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := schema.Open(ctx, schema.Options{Dir: dir}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := schema.Open(t.Context(), schema.Options{Dir: t.TempDir()}); err != nil {
		t.Errorf("an empty folder is no error: %v", err)
	}
}

func TestFolderWithAStrangeName(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), `a [b]*?`)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.b.json"), []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := open(t, dir).Lookup("a.b"); !ok {
		t.Error("the file was not found")
	}
}
