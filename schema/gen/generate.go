package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// catalogue is what the original's classes say.
type catalogue struct {
	Events map[string]event   `json:"events"`
	Nested map[string][]field `json:"nested"`
}

type event struct {
	Domain    string  `json:"domain"`
	Class     string  `json:"class"`
	IsCommand bool    `json:"is_command"`
	Fields    []field `json:"fields"`
}

type field struct {
	Name     string          `json:"name"`
	Type     string          `json:"type"`
	Required bool            `json:"required"`
	Nullable bool            `json:"nullable"`
	Default  json.RawMessage `json:"default"`
}

// words are ours: titles, descriptions and examples.
type words struct {
	Fields map[string]string `json:"fields"`
	Types  map[string]struct {
		Title       string          `json:"title"`
		Description string          `json:"description"`
		Example     json.RawMessage `json:"example"`
	} `json:"types"`
}

// generate returns the schema files by name.
func generate(in string) (map[string][]byte, error) {
	var c catalogue
	if err := readJSON(filepath.Join(in, "event_catalogue.json"), &c); err != nil {
		return nil, err
	}
	var w words
	if err := readJSON(filepath.Join(in, "words.json"), &w); err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for name, e := range c.Events {
		if _, ok := w.Types[name]; !ok {
			return nil, fmt.Errorf("words.json says nothing about %s", name)
		}
		for _, action := range actions(name, e) {
			key := strings.ReplaceAll(name, "{action}", action)
			doc, err := document(c, w, name, key, action)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			files[key+".json"] = doc
		}
	}
	return files, nil
}

// actions are the values that a template name stands for; a plain name stands
// for itself alone.
func actions(name string, e event) []string {
	if !strings.Contains(name, "{action}") {
		return []string{""}
	}
	for _, f := range e.Fields {
		if f.Name == "action" {
			return enumValues(f.Type)
		}
	}
	return nil
}

func document(c catalogue, w words, name, key, action string) ([]byte, error) {
	e, say := c.Events[name], w.Types[name]
	fill := func(s string) string { return strings.ReplaceAll(s, "{action}", action) }
	d := newObject()
	d.set("$schema", "http://json-schema.org/draft-07/schema#")
	d.set("$id", "urn:33god:holyfields:"+key+":v1")
	d.set("title", fill(say.Title))
	d.set("description", fill(say.Description))
	d.set("x-event-type", key)
	d.set("x-class", e.Class)
	d.set("x-domain", e.Domain)
	if action != "" {
		d.set("x-template", name)
	}
	if e.IsCommand {
		d.set("x-command", true)
	}
	d.set("type", "object")
	g := generator{catalogue: c, words: w, used: map[string]bool{}}
	if err := g.members(d, e.Fields, action); err != nil {
		return nil, err
	}
	if err := g.definitions(d); err != nil {
		return nil, err
	}
	example := say.Example
	if action != "" {
		example = bytes.Replace(example, []byte(`"action": "created"`), []byte(`"action": "`+action+`"`), 1)
	}
	d.set("examples", []json.RawMessage{example})
	return d.indented()
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
