package store

import "time"

// Filter says which events are wanted: those for which every term holds. The
// zero value wants all. The text form is the filter language, see
// [ParseFilter]; [Filter.String] writes it, [Filter.Match] applies it to one
// event. A driver that compiles it to SQL must find exactly what Match accepts;
// testdata/filter_vectors.json holds the cases.
//
// A filter made by hand must have the shape that ParseFilter gives it.
type Filter struct {
	Terms []Term
}

// Field names what a term looks at.
type Field string

// The fields, spelled as in the filter language. All but FieldText compare case
// by case. "Glob" means: each unquoted * stands for any run of characters, dots
// included, the empty run too.
const (
	// FieldText: words in the payload's text values (at any depth, not the
	// member names) or in the type, see [Value.Words].
	FieldText  Field = "text"
	FieldType  Field = "type"  // event_type; glob
	FieldTopic Field = "topic" // event_type as an AMQP pattern: * one word, # any number of words
	FieldApp   Field = "app"   // source.app; glob; null is the empty text
	FieldHost  Field = "host"  // source.host; glob
	// FieldSource: source.type, one of the wire form's words.
	FieldSource Field = "source"
	// FieldAgent: agent_context.name or .type; glob. An event without
	// agent_context never matches; a name of null does not count.
	FieldAgent   Field = "agent"
	FieldSession Field = "session" // payload.session_id, where absent or not text the empty text; exact
	FieldProject Field = "project" // payload.project, in the same way
	FieldID      Field = "id"      // event_id
	FieldParent  Field = "parent"  // any of correlation_ids
	// FieldTrace: the event itself, what caused it and what it caused, at any
	// distance, as far as [Filter.WithTrace] has told; else itself and what names
	// it as a parent.
	FieldTrace Field = "trace"
	FieldIs    Field = "is" // failed (type ends in .failed or .error) | replayed (replay_of is set)
	// FieldHas: parents (one or more) | agent (agent_context is not null) |
	// payload.<path> (that member is there and not null; [Value.Path] is set).
	FieldHas Field = "has"
	// FieldPayload: the member of the payload at [Term.Path]; only objects are
	// walked into. Where the member is a list, each of its elements is tried (not
	// the elements of lists inside it). An object, or no member, never matches.
	//   - Text matches by glob.
	//   - A number matches an unquoted value that is a number and equals it.
	//   - true, false and null match the same unquoted word (no glob).
	//   - With an operator only numbers match.
	// Numbers are compared as int64 where both are whole and fit, else as float64.
	FieldPayload Field = "payload"
	FieldSince   Field = "since" // timestamp at or after, in whole microseconds
	FieldUntil   Field = "until" // timestamp at or before, in whole microseconds
)

// Op compares a value.
type Op string

// The operators. OpMatch is equality, with * as a wildcard where the field
// allows it.
const (
	OpMatch Op = ""
	OpGT    Op = ">"
	OpGE    Op = ">="
	OpLT    Op = "<"
	OpLE    Op = "<="
)

// Term is one condition. It holds when any of its values does; Not turns that
// round: -app:x wants the events without an app, too.
type Term struct {
	Field Field
	// Path is the way into the payload for FieldPayload, outermost first.
	Path   []string
	Not    bool
	Values []Value
}

// Value is one alternative of a term.
type Value struct {
	// Op is set for FieldPayload only.
	Op   Op
	Text string
	// Path is the way into the payload for FieldHas, nil for its other words.
	Path []string
	// Number is Text as a number for the ordering operators.
	Number float64
	// Time is set for FieldSince and FieldUntil. It is absolute: relative forms
	// such as 15m are resolved when the filter is parsed.
	Time time.Time
	// Trace is what is known around the event of a FieldTrace value, see
	// [Filter.WithTrace]. It is no part of the text.
	Trace *Trace
	// Phrase says that Text was quoted: taken literally, without wildcards.
	Phrase bool
}

// Limits of a filter.
const (
	MaxFilterBytes  = 4096
	MaxFilterTerms  = 64
	MaxFilterValues = 256 // of all terms together
	MaxFilterPath   = 32  // members on the way into the payload
)
