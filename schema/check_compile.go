package schema

import (
	"math/big"
	"regexp"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// kinds is a set of JSON types.
type kinds uint8

const (
	isNull kinds = 1 << iota
	isBoolean
	isNumber
	isInteger
	isString
	isArray
	isObject
	anyKind = isNull | isBoolean | isNumber | isString | isArray | isObject
)

// node is a schema in the form that the quick checker follows. What is not set
// does not restrict.
type node struct {
	never bool // the schema false, or one whose values only the reference can judge
	kinds kinds

	// enum lists the only values allowed; those that are not text or null are
	// left to the reference.
	limited  bool
	enum     []string
	enumNull bool

	properties map[string]property
	required   uint64 // a bit for each required member
	additional *node  // of members not in properties; nil: anything

	items              *node
	minItems, maxItems int // maxItems -1: no limit

	minLength, maxLength int // in code points; maxLength -1: no limit
	pattern              *regexp.Regexp
	format               func([]byte) bool

	bounds []bound

	all []*node // every one must accept
	any []*node // one must accept, if there are any
}

type property struct {
	node     *node
	required uint64 // its bit, or 0
}

// bound is a limit of a number that float64 holds exactly.
type bound struct {
	limit     float64
	upper     bool // a maximum, not a minimum
	exclusive bool
}

// compileQuick turns a compiled schema into nodes, or returns nil if it holds
// anything that the quick checker does not know. It starts from the reference's
// own reading of the document, so both agree on what references and drafts mean.
func compileQuick(s *jsonschema.Schema) *node {
	c := quickCompiler{nodes: map[*jsonschema.Schema]*node{}}
	n := c.node(s)
	if c.beyond {
		return nil
	}
	return n
}

type quickCompiler struct {
	nodes  map[*jsonschema.Schema]*node
	beyond bool
}

func (c *quickCompiler) node(s *jsonschema.Schema) *node {
	if n, ok := c.nodes[s]; ok {
		return n
	}
	n := &node{kinds: anyKind, maxItems: -1, maxLength: -1}
	c.nodes[s] = n // before its parts: a schema may contain itself
	if s.Bool != nil {
		n.never = !*s.Bool
		return n
	}
	if unknownKeywords(s) {
		c.beyond = true
		return n
	}
	if s.Types != nil && !s.Types.IsEmpty() {
		n.kinds = kindsOf(s.Types.ToStrings())
	}
	c.values(n, s)
	c.object(n, s)
	c.array(n, s)
	c.text(n, s)
	c.number(n, s)
	for _, inner := range s.AllOf {
		n.all = append(n.all, c.node(inner))
	}
	if s.Ref != nil {
		n.all = append(n.all, c.node(s.Ref))
	}
	for _, inner := range s.AnyOf {
		n.any = append(n.any, c.node(inner))
	}
	return n
}

// unknownKeywords reports whether s uses a keyword that the quick checker leaves
// to the reference. A test holds this and the rest of the file against the list
// of the reference's fields, so that a new one cannot slip through.
func unknownKeywords(s *jsonschema.Schema) bool {
	return s.RecursiveRef != nil || s.DynamicRef != nil || s.Not != nil || s.OneOf != nil ||
		s.If != nil || s.Then != nil || s.Else != nil ||
		s.MaxProperties != nil || s.MinProperties != nil || s.PropertyNames != nil || s.PatternProperties != nil ||
		s.Dependencies != nil || s.DependentRequired != nil || s.DependentSchemas != nil || s.UnevaluatedProperties != nil ||
		s.UniqueItems || s.Contains != nil || s.MinContains != nil || s.MaxContains != nil ||
		s.AdditionalItems != nil || s.PrefixItems != nil || s.UnevaluatedItems != nil ||
		s.ContentEncoding != nil || s.ContentMediaType != nil || s.ContentSchema != nil ||
		s.MultipleOf != nil || len(s.Extensions) > 0
}

func kindsOf(names []string) (k kinds) {
	for _, name := range names {
		switch name {
		case "null":
			k |= isNull
		case "boolean":
			k |= isBoolean
		case "number":
			k |= isNumber
		case "integer":
			k |= isInteger
		case "string":
			k |= isString
		case "array":
			k |= isArray
		case "object":
			k |= isObject
		}
	}
	return k
}

func (c *quickCompiler) values(n *node, s *jsonschema.Schema) {
	if s.Enum != nil && s.Const != nil {
		c.beyond = true
		return
	}
	var allowed []any
	switch {
	case s.Enum != nil:
		allowed = s.Enum.Values
	case s.Const != nil:
		allowed = []any{*s.Const}
	default:
		return
	}
	n.limited = true
	for _, v := range allowed {
		switch v := v.(type) {
		case string:
			n.enum = append(n.enum, v)
		case nil:
			n.enumNull = true
		}
	}
}

func (c *quickCompiler) object(n *node, s *jsonschema.Schema) {
	if len(s.Required) > 64 {
		c.beyond = true
		return
	}
	n.properties = make(map[string]property, len(s.Properties))
	for name, inner := range s.Properties {
		n.properties[name] = property{node: c.node(inner)}
	}
	switch additional := s.AdditionalProperties.(type) {
	case bool:
		if !additional {
			n.additional = &node{never: true}
		}
	case *jsonschema.Schema:
		n.additional = c.node(additional)
	}
	for i, name := range s.Required {
		p, ok := n.properties[name]
		if !ok {
			p.node = n.additional
		}
		p.required |= 1 << i
		n.required |= 1 << i
		n.properties[name] = p
	}
}

func (c *quickCompiler) array(n *node, s *jsonschema.Schema) {
	if s.MinItems != nil {
		n.minItems = *s.MinItems
	}
	if s.MaxItems != nil {
		n.maxItems = *s.MaxItems
	}
	switch items := s.Items.(type) {
	case nil:
	case *jsonschema.Schema:
		n.items = c.node(items)
	default:
		c.beyond = true
	}
	if s.Items2020 != nil {
		n.items = c.node(s.Items2020)
	}
}

func (c *quickCompiler) text(n *node, s *jsonschema.Schema) {
	if s.MinLength != nil {
		n.minLength = *s.MinLength
	}
	if s.MaxLength != nil {
		n.maxLength = *s.MaxLength
	}
	if s.Pattern != nil {
		p, ok := s.Pattern.(pattern)
		n.pattern, c.beyond = p.Regexp, c.beyond || !ok
	}
	if s.Format != nil {
		n.format = quickFormat(s.Format.Name)
		c.beyond = c.beyond || n.format == nil
	}
}

func (c *quickCompiler) number(n *node, s *jsonschema.Schema) {
	add := func(limit *big.Rat, upper, exclusive bool) {
		if limit == nil {
			return
		}
		f, exact := limit.Float64()
		c.beyond = c.beyond || !exact
		n.bounds = append(n.bounds, bound{f, upper, exclusive})
	}
	add(s.Minimum, false, false)
	add(s.Maximum, true, false)
	add(s.ExclusiveMinimum, false, true)
	add(s.ExclusiveMaximum, true, true)
}
