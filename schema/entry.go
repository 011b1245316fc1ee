package schema

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/33god/bloodbank"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// entry is one type's schema. It is read and compiled when first needed, each
// once; an embedded one that no event asks for costs nothing.
type entry struct {
	eventType bloodbank.EventType
	file      string
	origin    Origin
	doc       []byte

	reading  sync.Once
	info     Info
	tree     any
	examples []json.RawMessage
	readErr  error

	compiling sync.Once
	schema    *jsonschema.Schema
	quick     *node // nil where the schema is beyond the quick checker
	err       error
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

// read takes the document apart without compiling it.
func (e *entry) read() error {
	e.reading.Do(func() { e.readErr = e.readDocument() })
	return e.readErr
}

func (e *entry) readDocument() (err error) {
	if e.tree, err = jsonschema.UnmarshalJSON(bytes.NewReader(e.doc)); err != nil {
		return syntaxError(e.doc, err)
	}
	if !jsontext.Value(e.doc).IsValid() { // the reference's parser takes these
		return errors.New("has the same member twice in one object, or text that is not UTF-8")
	}
	if _, ok := e.tree.(map[string]any); !ok {
		return errors.New("a schema must be a JSON object")
	}
	var h heading
	if err := json.Unmarshal(e.doc, &h); err != nil {
		return headingError(err)
	}
	e.examples = h.Examples
	if isShared(e.file) {
		return nil
	}
	name := cmp.Or(h.EventType, nameOf(e.file))
	if e.eventType, err = bloodbank.ParseEventType(name); err != nil {
		return fmt.Errorf("%w (the type is x-event-type, else the file name; begin the name of a file that only holds shared definitions with _)", err)
	}
	e.info = Info{
		Type: e.eventType, Domain: cmp.Or(h.Domain, e.eventType.Domain()), Title: h.Title, Description: h.Description,
		Class: h.Class, Command: h.Command, SchemaID: cmp.Or(h.ID, e.file), Origin: e.origin, Template: h.Template,
	}
	return nil
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

// ready reads and compiles the schema if that has not happened yet. loader
// answers its references to other schemas.
func (e *entry) ready(loader folder) error {
	e.compiling.Do(func() {
		if e.err = e.read(); e.err == nil {
			e.err = e.compile(newCompiler(loader))
		}
	})
	return e.err
}

func (e *entry) compile(c *jsonschema.Compiler) (err error) {
	if err := c.AddResource(location(e.file), e.tree); err != nil {
		return err
	}
	if e.schema, err = c.Compile(location(e.file)); err == nil {
		e.quick = compileQuick(e.schema)
	}
	return err
}

func newCompiler(loader folder) *jsonschema.Compiler {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	c.AssertFormat()
	c.UseRegexpEngine(compilePattern)
	for _, f := range formats() {
		c.RegisterFormat(f)
	}
	c.UseLoader(loader)
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
