package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/33god/bloodbank"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Validate checks a payload against the schema of its type. It returns nil or a
// *[bloodbank.Error]: code schema with every fault in Details, sorted by
// pointer; code invalid if the payload is not JSON; or code unknown_type,
// saying how to add a schema, unless the registry is permissive.
func (r *Registry) Validate(t bloodbank.EventType, payload []byte) error {
	return r.validate(t, payload, r.permissive)
}

// ValidatePermissive is [Registry.Validate] for a caller who allows types
// without a schema: these it accepts unchecked.
func (r *Registry) ValidatePermissive(t bloodbank.EventType, payload []byte) error {
	return r.validate(t, payload, true)
}

func (r *Registry) validate(t bloodbank.EventType, payload []byte, permissive bool) error {
	e, ok := r.entries[t]
	if !ok {
		if permissive {
			return nil
		}
		return r.unknown(t)
	}
	if err := e.ready(folder{}); err != nil {
		return bloodbank.Errorf(bloodbank.CodeInternal, "the schema of %s cannot be used: %w", t, err)
	}
	if e.quick != nil && e.quick.accepts(payload) {
		return nil
	}
	return e.judge(payload)
}

// judge asks the reference.
func (e *entry) judge(payload []byte) error {
	tree, err := parse(payload)
	if err != nil {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "the payload is not valid JSON: %w", err)
	}
	err = e.schema.Validate(tree)
	if err == nil {
		return nil
	}
	var broken *jsonschema.ValidationError
	if !errors.As(err, &broken) {
		return bloodbank.Errorf(bloodbank.CodeInternal, "validate %s: %w", e.eventType, err)
	}
	return refusal(e.eventType, faultsOf(broken))
}

func (r *Registry) unknown(t bloodbank.EventType) error {
	hint := ""
	if near, ok := r.nearest(t); ok {
		hint = fmt.Sprintf("; did you mean %s?", near)
	}
	return bloodbank.Errorf(bloodbank.CodeUnknownType,
		"there is no schema for event type %q%s To add one, put a JSON Schema named %s.json into a folder and name it with --schema-dir DIR; to accept the event unchecked, pass --permissive",
		t, orStop(hint), t)
}

func orStop(hint string) string {
	if hint == "" {
		return "."
	}
	return hint
}

// parse reads a payload for the reference. Numbers keep their text, cut to what
// the reference can compare at a bounded cost.
func parse(payload []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it is empty")
		}
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more text behind the value")
	}
	return tameNumbers(tree), nil
}

func tameNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, member := range v {
			v[k] = tameNumbers(member)
		}
	case []any:
		for i, item := range v {
			v[i] = tameNumbers(item)
		}
	case json.Number:
		return tame(v)
	}
	return v
}
