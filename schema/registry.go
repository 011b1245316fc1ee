package schema

import (
	"context"
	"embed"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/33god/bloodbank"
)

//go:embed holyfields/*.json
var holyfields embed.FS

// Options say which schemas a registry holds and what it does without one.
type Options struct {
	// Dir is a folder with more schemas (*.json), which may replace embedded
	// ones. "" means none.
	Dir string
	// Permissive accepts events whose type has no schema. Types that have one
	// are checked all the same.
	Permissive bool
}

// Origin says where a schema comes from.
type Origin string

// The origins.
const (
	OriginEmbedded Origin = "embedded" // part of the program
	OriginFile     Origin = "file"     // from Options.Dir
)

// Info describes an event type that has a schema.
type Info struct {
	Type   bloodbank.EventType `json:"type"`
	Domain string              `json:"domain"`
	Title  string              `json:"title"`
	// Description is one or two sentences; it may be empty for files.
	Description string `json:"description"`
	// Class is the original's name for the payload's model; "" where it had none.
	Class string `json:"class"`
	// Command says that whoever listens is to act on the event.
	Command bool `json:"command"`
	// SchemaID is the schema's $id, or its file name.
	SchemaID string `json:"schema_id"`
	Origin   Origin `json:"origin"`
	// Template is the name of the family that the type belongs to, such as
	// "artifact.{action}"; "" for all others.
	Template string `json:"template,omitempty"`
}

// Registry holds schemas by event type. It is safe for concurrent use; nothing
// in it blocks.
type Registry struct {
	permissive bool
	entries    map[bloodbank.EventType]*entry
	// infos reads the headings of all schemas, once and only when asked for.
	infos func() []Info
}

// Open reads the schemas of o.Dir; the embedded ones are read on first use. If
// files of the folder are broken, the error (code invalid) lists each of them
// with the place and the reason.
func Open(ctx context.Context, o Options) (*Registry, error) {
	r := &Registry{permissive: o.Permissive, entries: map[bloodbank.EventType]*entry{}}
	embedded, err := embeddedEntries()
	if err != nil {
		return nil, err
	}
	for _, e := range embedded {
		r.entries[e.eventType] = e
	}
	if o.Dir != "" {
		files, err := readDir(ctx, o.Dir, embedded)
		if err != nil {
			return nil, err
		}
		for _, e := range files {
			r.entries[e.eventType] = e
		}
	}
	r.infos = sync.OnceValue(r.readInfos)
	return r, nil
}

// embeddedEntries takes the types from the file names, which a test holds equal
// to what the files say.
func embeddedEntries() ([]*entry, error) {
	files, err := holyfields.ReadDir("holyfields")
	if err != nil {
		return nil, bloodbank.Errorf(bloodbank.CodeInternal, "read the embedded schemas: %w", err)
	}
	entries := make([]*entry, 0, len(files))
	for _, f := range files {
		doc, err := holyfields.ReadFile("holyfields/" + f.Name())
		if err != nil {
			return nil, bloodbank.Errorf(bloodbank.CodeInternal, "read embedded schema %s: %w", f.Name(), err)
		}
		t := bloodbank.EventType(nameOf(f.Name()))
		entries = append(entries, &entry{eventType: t, file: f.Name(), origin: OriginEmbedded, doc: doc})
	}
	return entries, nil
}

func (r *Registry) readInfos() []Info {
	infos := make([]Info, 0, len(r.entries))
	for _, t := range slices.Sorted(maps.Keys(r.entries)) {
		if e := r.entries[t]; e.read() == nil {
			infos = append(infos, e.info)
		}
	}
	return infos
}

// Types lists all types, sorted by name. The caller owns the result.
func (r *Registry) Types() []Info { return slices.Clone(r.infos()) }

// Lookup finds a type by its name, by the original's class name, or by the name
// of its family ("artifact.{action}"). A family or a class of several types
// answers with the first one; [Registry.Resolve] picks the right one.
func (r *Registry) Lookup(name string) (Info, bool) {
	if e, ok := r.entries[bloodbank.EventType(name)]; ok && e.read() == nil {
		return e.info, true
	}
	for _, info := range r.infos() {
		if name != "" && (info.Class == name || info.Template == name) {
			return info, true
		}
	}
	return Info{}, false
}

// Resolve is [Registry.Lookup] for an event about to be published: where name
// stands for a family, the payload's own member picks the type. It returns false
// if name or that member names no type.
func (r *Registry) Resolve(name string, payload []byte) (Info, bool) {
	info, ok := r.Lookup(name)
	if !ok || info.Template == "" || string(info.Type) == name {
		return info, ok
	}
	head, rest, _ := strings.Cut(info.Template, "{")
	member, tail, _ := strings.Cut(rest, "}")
	var members map[string]json.RawMessage
	var value string
	if json.Unmarshal(payload, &members) != nil || json.Unmarshal(members[member], &value) != nil {
		return Info{}, false
	}
	e, ok := r.entries[bloodbank.EventType(head+value+tail)]
	if !ok || e.read() != nil {
		return Info{}, false
	}
	return e.info, true
}

// Schema returns the exact document of a type's schema. The caller owns it.
func (r *Registry) Schema(t bloodbank.EventType) ([]byte, bool) {
	e, ok := r.entries[t]
	if !ok {
		return nil, false
	}
	return slices.Clone(e.doc), true
}

// Example returns the first of the schema's own examples that is valid, as it is
// written there. The caller owns it.
func (r *Registry) Example(t bloodbank.EventType) ([]byte, bool) {
	e, ok := r.entries[t]
	if !ok || e.read() != nil {
		return nil, false
	}
	for _, example := range e.examples {
		if r.Validate(t, example) == nil {
			return slices.Clone(example), true
		}
	}
	return nil, false
}
