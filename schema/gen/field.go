package main

import (
	"fmt"
	"strings"
)

// generator turns the fields of one event into properties and notes which
// nested types they need.
type generator struct {
	catalogue catalogue
	words     words
	used      map[string]bool
}

// members sets properties and required. action, if any, is the one value that
// the field action may have: the payload cannot contradict its own type.
func (g *generator) members(d *object, fields []field, action string) error {
	props, required := newObject(), []string{}
	for _, f := range fields {
		p, err := g.property(f)
		if err != nil {
			return err
		}
		if f.Name == "action" && action != "" {
			p.set("enum", []string{action})
		}
		props.set(f.Name, p)
		if f.Required {
			required = append(required, f.Name)
		}
	}
	if len(required) > 0 {
		d.set("required", required)
	}
	d.set("properties", props)
	return nil
}

func (g *generator) property(f field) (*object, error) {
	p := newObject()
	if text := g.words.Fields[f.Name]; text != "" {
		p.set("description", text)
	}
	if err := g.kind(p, f.Type, f.Nullable); err != nil {
		return nil, fmt.Errorf("field %s: %w", f.Name, err)
	}
	if d := string(f.Default); d != "" && d != "null" && d != `"now()"` {
		p.set("default", f.Default)
	}
	return p, nil
}

func (g *generator) kind(p *object, kind string, nullable bool) error {
	basic := func(name string) {
		if nullable {
			p.set("type", []string{name, "null"})
		} else {
			p.set("type", name)
		}
	}
	switch {
	case kind == "string" || kind == "number" || kind == "object":
		basic(kind)
	case kind == "int":
		basic("integer")
	case kind == "bool":
		basic("boolean")
	case kind == "uuid":
		basic("string")
		p.set("format", "uuid")
	case kind == "datetime":
		// The models read times with and without an offset.
		basic("string")
		p.set("anyOf", []map[string]string{{"format": "date-time"}, {"format": "date-time-local"}})
	case strings.HasPrefix(kind, "enum("):
		basic("string")
		p.set("enum", enumValues(kind))
	case strings.HasPrefix(kind, "["):
		basic("array")
		return g.nested(p, "items", kind[1:len(kind)-1])
	case strings.HasPrefix(kind, "map<"):
		basic("object")
		return g.nested(p, "additionalProperties", kind[4:len(kind)-1])
	case g.catalogue.Nested[kind] != nil && !nullable:
		// In draft-07 nothing beside a $ref counts, so the reference stands in allOf.
		g.used[kind] = true
		p.set("allOf", []map[string]string{{"$ref": "#/definitions/" + kind}})
	default:
		return fmt.Errorf("unknown type %q", kind)
	}
	return nil
}

func (g *generator) nested(p *object, key, kind string) error {
	inner := newObject()
	if g.catalogue.Nested[kind] != nil {
		g.used[kind] = true
		inner.set("$ref", "#/definitions/"+kind)
	} else if err := g.kind(inner, kind, false); err != nil {
		return err
	}
	p.set(key, inner)
	return nil
}

// definitions writes the nested types that are in use, and those that they use.
func (g *generator) definitions(d *object) error {
	defs := newObject()
	for len(g.used) > defs.len() {
		for _, name := range sortedKeys(g.used) {
			if defs.has(name) {
				continue
			}
			def := newObject()
			def.set("type", "object")
			if err := g.members(def, g.catalogue.Nested[name], ""); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			defs.set(name, def)
		}
	}
	if defs.len() > 0 {
		d.set("definitions", defs)
	}
	return nil
}

func enumValues(kind string) []string {
	return strings.Split(strings.TrimSuffix(strings.TrimPrefix(kind, "enum("), ")"), "|")
}
