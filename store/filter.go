package store

import "time"

// Filter says which events are wanted: those for which every term holds. The
// zero value wants all. The text form is the filter language, see [ParseFilter].
type Filter struct {
	Terms []Term
}

// Field names what a term looks at.
type Field string

// The fields, spelled as in the filter language. FieldText is a bare word or a
// quoted phrase.
const (
	FieldText    Field = "text"    // words anywhere in the payload's text, or in the type
	FieldType    Field = "type"    // event_type; * stands for any run of characters
	FieldTopic   Field = "topic"   // event_type as an AMQP pattern: * one word, # any number
	FieldApp     Field = "app"     // source.app; * as in type
	FieldHost    Field = "host"    // source.host; * as in type
	FieldSource  Field = "source"  // source.type
	FieldAgent   Field = "agent"   // agent_context.name or .type; * as in type
	FieldSession Field = "session" // payload.session_id
	FieldProject Field = "project" // payload.project
	FieldID      Field = "id"      // event_id
	FieldParent  Field = "parent"  // any of correlation_ids
	FieldIs      Field = "is"      // failed (type ends in .failed or .error) | replayed (replay_of is set)
	FieldHas     Field = "has"     // parents | agent | payload path
	FieldPayload Field = "payload" // a member of the payload, by Path
	FieldSince   Field = "since"   // timestamp at or after
	FieldUntil   Field = "until"   // timestamp at or before
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
// round.
type Term struct {
	Field Field
	// Path is the way into the payload for FieldPayload, outermost first.
	Path   []string
	Not    bool
	Values []Value
}

// Value is one alternative of a term.
type Value struct {
	Op   Op
	Text string
	// Number is Text as a number for the ordering operators.
	Number float64
	// Time is set for FieldSince and FieldUntil. It is absolute: relative forms
	// such as 15m are resolved when the filter is parsed.
	Time time.Time
	// Phrase says that Text was quoted: taken literally, without wildcards.
	Phrase bool
}
