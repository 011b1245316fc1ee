package bloodbank

import (
	"encoding/json"
	"strings"
)

// SourceType says what triggered an event.
type SourceType string

// The source types of the wire form. Any other is refused.
const (
	SourceManual    SourceType = "manual"
	SourceAgent     SourceType = "agent"
	SourceScheduled SourceType = "scheduled"
	SourceFileWatch SourceType = "file_watch"
	SourceHook      SourceType = "hook"
)

// Valid reports whether t is one of the wire form's types.
func (t SourceType) Valid() bool {
	switch t {
	case SourceManual, SourceAgent, SourceScheduled, SourceFileWatch, SourceHook:
		return true
	}
	return false
}

// Source says where an event comes from.
type Source struct {
	Host string
	Type SourceType
	// App is the program; "" is written as null.
	App string
	// Meta is any JSON object, as it came; nil is written as null.
	Meta json.RawMessage
	// Extra holds members that the wire form does not name; they survive.
	Extra []Member
}

// ParseSource reads the short text form: "app/host", or "app" alone for an
// unknown host. The type is manual.
func ParseSource(s string) Source {
	app, host, found := strings.Cut(s, "/")
	if !found {
		host = "unknown"
	}
	return Source{Host: host, Type: SourceManual, App: app}
}

// Member is a named JSON value kept as it came.
type Member struct {
	Name  string
	Value json.RawMessage
}
