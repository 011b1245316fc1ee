package schema

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/33god/bloodbank"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// maxFaults is how many faults one refusal lists; a large payload can have one
// in every item.
const maxFaults = 100

// fault is one broken rule.
type fault struct {
	pointer string // JSON pointer of the value
	keyword string // the rule's keyword in the schema
	message string
}

// refusal makes the error of a payload with faults.
func refusal(t bloodbank.EventType, faults []fault) error {
	e := bloodbank.Errorf(bloodbank.CodeSchema, "the payload does not match the schema of %s", t)
	rest := len(faults) - maxFaults
	for _, f := range faults[:min(len(faults), maxFaults)] {
		e.Details = append(e.Details, bloodbank.Detail{Pointer: f.pointer, Message: f.message})
	}
	if rest > 0 {
		e.Details = append(e.Details, bloodbank.Detail{Message: fmt.Sprintf("and %d more faults", rest)})
	}
	return e
}

// faultsOf collects the leaves of the reference's tree of causes, sorted by
// pointer, each once.
func faultsOf(e *jsonschema.ValidationError) []fault {
	var faults []fault
	collect(e, &faults)
	slices.SortFunc(faults, func(a, b fault) int {
		if c := strings.Compare(a.pointer, b.pointer); c != 0 {
			return c
		}
		return strings.Compare(a.message, b.message)
	})
	return slices.Compact(faults)
}

func collect(e *jsonschema.ValidationError, faults *[]fault) {
	at := pointerOf(e.InstanceLocation)
	add := func(keyword, format string, args ...any) {
		*faults = append(*faults, fault{at, keyword, fmt.Sprintf(format, args...)})
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			add("required", "the required member %q is missing", name)
		}
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			add("additionalProperties", "the member %q is not allowed here", name)
		}
	case *kind.AnyOf, *kind.OneOf:
		collectChoice(e, at, faults)
	default:
		if len(e.Causes) == 0 {
			keyword := ""
			if path := e.ErrorKind.KeywordPath(); len(path) > 0 {
				keyword = path[0]
			}
			add(keyword, "%s", sentence(e))
		}
		for _, cause := range e.Causes {
			collect(cause, faults)
		}
	}
}

// collectChoice reports a value that fits none of several forms as one fault
// that names what each form wants of it.
func collectChoice(e *jsonschema.ValidationError, at string, faults *[]fault) {
	if len(e.Causes) == 0 {
		*faults = append(*faults, fault{at, "oneOf", "it matches more than one of the forms that exclude each other"})
		return
	}
	var wants []string
	for _, cause := range e.Causes {
		var inner []fault
		collect(cause, &inner)
		for _, f := range inner {
			text := f.message
			if f.pointer != at {
				text = strings.TrimPrefix(f.pointer, at) + ": " + text
			}
			if !slices.Contains(wants, text) {
				wants = append(wants, text)
			}
		}
	}
	keyword := e.ErrorKind.KeywordPath()[0]
	*faults = append(*faults, fault{at, keyword, strings.Join(wants[:min(len(wants), 8)], "; or ")})
}

// sentence says in plain words what a value breaks.
func sentence(e *jsonschema.ValidationError) string {
	switch k := e.ErrorKind.(type) {
	case *kind.Type:
		return fmt.Sprintf("must be %s, not %s", orList(k.Want), k.Got)
	case *kind.Enum:
		return fmt.Sprintf("must be one of %s, not %s", values(k.Want), value(k.Got))
	case *kind.Const:
		return fmt.Sprintf("must be %s, not %s", value(k.Want), value(k.Got))
	case *kind.Format:
		return fmt.Sprintf("must be a %s: %v (got %s)", k.Want, k.Err, value(k.Got))
	case *kind.Pattern:
		return fmt.Sprintf("must match the pattern %s, got %s", k.Want, value(k.Got))
	case *kind.MinLength:
		return fmt.Sprintf("must have %s or more, has %d", count(k.Want, "character"), k.Got)
	case *kind.MaxLength:
		return fmt.Sprintf("must have %s at most, has %d", count(k.Want, "character"), k.Got)
	case *kind.MinItems:
		return fmt.Sprintf("must have %s or more, has %d", count(k.Want, "item"), k.Got)
	case *kind.MaxItems:
		return fmt.Sprintf("must have %s at most, has %d", count(k.Want, "item"), k.Got)
	case *kind.UniqueItems:
		return fmt.Sprintf("items %d and %d are equal, but each may stand only once", k.Duplicates[0], k.Duplicates[1])
	case *kind.Minimum:
		return fmt.Sprintf("must be %s or more, not %s", number(k.Want), number(k.Got))
	case *kind.Maximum:
		return fmt.Sprintf("must be %s or less, not %s", number(k.Want), number(k.Got))
	case *kind.ExclusiveMinimum:
		return fmt.Sprintf("must be more than %s, not %s", number(k.Want), number(k.Got))
	case *kind.ExclusiveMaximum:
		return fmt.Sprintf("must be less than %s, not %s", number(k.Want), number(k.Got))
	case *kind.FalseSchema:
		return "is not allowed here"
	case *kind.Not:
		return "has a form that the schema rules out"
	}
	text := e.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return text
}

func pointerOf(tokens []string) string {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(t))
	}
	return b.String()
}

func orList(names []string) string {
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " or " + names[n-1]
	}
	return strings.Join(names, "")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func number(r *big.Rat) string {
	if r.IsInt() && r.Num().BitLen() < 64 {
		return r.Num().String()
	}
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func values(list []any) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = value(v)
	}
	return strings.Join(texts, ", ")
}

// value shows a value without echoing megabytes of it.
func value(v any) string {
	const limit = 80
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("a value of type %T", v)
	}
	if len(raw) > limit {
		return strings.ToValidUTF8(string(raw[:limit]), "") + "…"
	}
	return string(raw)
}
