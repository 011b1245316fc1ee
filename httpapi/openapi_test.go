package httpapi_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// document is the part of OpenAPI that the tests look at.
type document struct {
	OpenAPI string                                `json:"openapi"`
	Info    struct{ Title, Version string }       `json:"info"`
	Paths   map[string]map[string]json.RawMessage `json:"paths"`
	Parts   struct {
		Schemas map[string]any `json:"schemas"`
	} `json:"components"`
}

type operation struct {
	OperationID string                     `json:"operationId"`
	Summary     string                     `json:"summary"`
	Responses   map[string]json.RawMessage `json:"responses"`
	Parameters  []struct {
		Name, In string
		Required bool
		Schema   map[string]any
	} `json:"parameters"`
}

func readDocument(t *testing.T) (document, []byte) {
	t.Helper()
	b := setup(t)
	a := b.do("GET", "/openapi.json", "")
	var d document
	b.into(a, 200, &d)
	return d, a.body
}

// TestOpenAPIHasEveryRoute reads the routes from the source, so that neither can
// grow without the other.
func TestOpenAPIHasEveryRoute(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("routes.go")
	must(t, err)
	var routes []string
	for _, m := range regexp.MustCompile(`\{"(GET|POST) (\S+)", s\.`).FindAllStringSubmatch(string(source), -1) {
		path := strings.NewReplacer("{$}", "", "...}", "}").Replace(m[2])
		routes = append(routes, m[1]+" "+path)
	}
	d, _ := readDocument(t)
	var described []string
	for path, methods := range d.Paths {
		for method := range methods {
			described = append(described, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(routes)
	slices.Sort(described)
	if len(routes) < 20 || !slices.Equal(routes, described) {
		t.Errorf("routes\n%s\ndescribed\n%s", strings.Join(routes, "\n"), strings.Join(described, "\n"))
	}
}

func TestOpenAPIIsSound(t *testing.T) {
	t.Parallel()
	d, raw := readDocument(t)
	if d.OpenAPI != "3.1.0" || d.Info.Title == "" || d.Info.Version == "" {
		t.Errorf("%+v", d.Info)
	}
	for _, m := range regexp.MustCompile(`"\$ref": *"([^"]*)"`).FindAllStringSubmatch(string(raw), -1) {
		name, ok := strings.CutPrefix(m[1], "#/components/schemas/")
		if _, found := d.Parts.Schemas[name]; !ok || !found {
			t.Errorf("%s points nowhere", m[1])
		}
	}
	ids := map[string]bool{}
	for path, methods := range d.Paths {
		for method, data := range methods {
			var o operation
			must(t, json.Unmarshal(data, &o))
			where := method + " " + path
			if o.OperationID == "" || ids[o.OperationID] || o.Summary == "" || len(o.Responses) == 0 {
				t.Errorf("%s lacks an id of its own, a summary or answers", where)
			}
			ids[o.OperationID] = true
			checkParameters(t, where, path, o)
			for status, data := range o.Responses {
				var r struct{ Description string }
				must(t, json.Unmarshal(data, &r))
				if len(status) != 3 || r.Description == "" {
					t.Errorf("%s: answer %s is not described", where, status)
				}
			}
		}
	}
}

func checkParameters(t *testing.T, where, path string, o operation) {
	t.Helper()
	var inPath, named []string
	for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
		inPath = append(inPath, m[1])
	}
	for _, p := range o.Parameters {
		if p.Schema == nil || !slices.Contains([]string{"path", "query", "header"}, p.In) {
			t.Errorf("%s: parameter %s is not described", where, p.Name)
		}
		if p.In == "path" {
			if named = append(named, p.Name); !p.Required {
				t.Errorf("%s: parameter %s must be required", where, p.Name)
			}
		}
	}
	if fmt.Sprint(inPath) != fmt.Sprint(named) {
		t.Errorf("%s: path has %v, parameters %v", where, inPath, named)
	}
}
