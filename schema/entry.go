package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/33god/bloodbank"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// entry is one type's schema: the document, and, once compiled, the reference
// validator and the quick checker.
type entry struct {
	info     Info
	file     string
	doc      []byte
	tree     any
	examples []json.RawMessage

	compile sync.Once
	schema  *jsonschema.Schema
	quick   *node // nil where the schema is beyond the quick checker
	err     error
}

// heading is what we read from a schema document ourselves.
type heading struct {
	ID          string            `json:"$id"`
	Title       string            `json:"title"`
	Description string            `json:"description"`
	EventType   string            `json:"x-event-type"`
	Class       string            `json:"x-class"`
	Domain      string            `json:"x-domain"`
	Template    string            `json:"x-template"`
	Command     bool              `json:"x-command"`
	Examples    []json.RawMessage `json:"examples"`
}

// newEntry reads a schema document without compiling it.
func newEntry(file string, doc []byte, origin Origin) (*entry, error) {
	tree, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		return nil, syntaxError(doc, err)
	}
	if _, ok := tree.(map[string]any); !ok {
		return nil, errors.New("a schema must be a JSON object")
	}
	var h heading
	if err := json.Unmarshal(doc, &h); err != nil {
		return nil, headingError(err)
	}
	e := &entry{file: file, doc: doc, tree: tree, examples: h.Examples}
	if isShared(file) {
		return e, nil
	}
	name := h.EventType
	if name == "" {
		name = nameOf(file)
	}
	t, err := bloodbank.ParseEventType(name)
	if err != nil {
		return nil, fmt.Errorf("%w (from x-event-type, else the file name; begin the name of a file that only holds shared definitions with _)", err)
	}
	e.info = Info{
		Type: t, Domain: h.Domain, Title: h.Title, Description: h.Description, Class: h.Class, Command: h.Command,
		SchemaID: h.ID, Origin: origin, Template: h.Template,
	}
	if e.info.Domain == "" {
		e.info.Domain = t.Domain()
	}
	if e.info.SchemaID == "" {
		e.info.SchemaID = file
	}
	return e, nil
}

// isShared reports whether a file holds definitions for others and no type.
func isShared(file string) bool { return strings.HasPrefix(file, "_") }

// nameOf turns "a.b.c.json" and "a.b.c.v1.schema.json" into "a.b.c".
func nameOf(file string) string {
	return schemaSuffix.ReplaceAllString(file, "")
}

var schemaSuffix = regexp.MustCompile(`((\.v[0-9]+)?\.schema)?\.json$`)

// location is the address under which a file is known to the compiler, so that
// files refer to each other by name. It exposes no path of the machine.
func location(file string) string { return "file:///" + url.PathEscape(file) }

// ready compiles the schema if that has not happened yet.
func (e *entry) ready() error {
	e.compile.Do(func() { e.compileWith(newCompiler(nil)) })
	return e.err
}

func (e *entry) compileWith(c *jsonschema.Compiler) {
	if err := c.AddResource(location(e.file), e.tree); err != nil && !alreadyThere(err) {
		e.err = err
		return
	}
	e.schema, e.err = c.Compile(location(e.file))
	if e.err == nil {
		e.quick = compileQuick(e.schema)
	}
}

func alreadyThere(err error) bool {
	var exists *jsonschema.ResourceExistsError
	return errors.As(err, &exists)
}

func newCompiler(l jsonschema.URLLoader) *jsonschema.Compiler {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	c.AssertFormat()
	c.UseRegexpEngine(compilePattern)
	for _, f := range formats() {
		c.RegisterFormat(f)
	}
	if l == nil {
		l = folder{}
	}
	c.UseLoader(l)
	return c
}

// pattern is a regular expression that can match bytes as well.
type pattern struct{ *regexp.Regexp }

// compilePattern reads a pattern as RE2 does: linear time on any input, and $
// matches only at the very end of the text.
func compilePattern(s string) (jsonschema.Regexp, error) {
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, err
	}
	return pattern{re}, nil
}
