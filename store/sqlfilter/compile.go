package sqlfilter

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// Few is how many candidates may be sorted for each page. More are met soon
// enough in the order of time. It is also how many names are compared by
// number; a glob that more of them match is left to [Plan.Rest].
const Few = 5000

// Dialect is what each database has in a way of its own. Conditions bind their
// arguments with [Plan.Bind], in the order in which they stand in the SQL.
type Dialect interface {
	// Find returns the ids of those texts that are names of kind k.
	Find(ctx context.Context, k Kind, texts []string) ([]int64, error)
	// Names visits all names of a kind.
	Names(ctx context.Context, k Kind, visit func(id int64, text string)) error
	// Numbers is the end of a condition: the column in front of it is one of ids,
	// which are one or more. A single one must read as an equality: that keeps an
	// index in the order of time.
	Numbers(p *Plan, ids []int64) string
	// IDs is the same for event ids.
	IDs(p *Plan, ids []bloodbank.EventID) string
	// Time compares the time of an event; op is ">=" or "<=".
	Time(p *Plan, op string, at time.Time) string
	// HasParents holds for an event that names parents.
	HasParents() string
}

// Plan is a filter as SQL. What SQL cannot decide exactly is left to Rest, which
// [store.Filter.Match] applies to the events found: so the store finds what the
// live stream lets through, by construction.
//
// Members of the payload are always decided there and not by the JSON functions
// of a database: those compare 64-bit numbers, text and lists by rules of their
// own and parse the event as well, so they would save nothing.
type Plan struct {
	// Where are conditions that all hold, Args their arguments in order.
	Where []string
	Args  []any
	Rest  store.Filter
	// Never says that no event can match; then the rest is not filled in.
	Never bool

	// What could narrow the search, besides being in Where: event ids, parents
	// and types (one of each must be met), a single session or project, any
	// flag. Text alone is not in Where: see [Plan.TextQuery].
	IDs, Parents            []bloodbank.EventID
	TraceIDs, TraceParents  []bloodbank.EventID // one of either must be met
	Types                   []int64
	Session, Project, Flags bool
	Text                    [][]Words
}

// Words are words that an event has all of.
type Words struct {
	List   []string
	Prefix bool // the last one may go on
}

// Bind adds an argument and returns its number, from 1: no value of a filter is
// ever part of the SQL.
func (p *Plan) Bind(v any) int {
	p.Args = append(p.Args, v)
	return len(p.Args)
}

// Compile makes the plan of a filter. The names are looked up now, so it belongs
// into the snapshot that is searched, or before it.
func Compile(ctx context.Context, d Dialect, f store.Filter) (*Plan, error) {
	return CompileBehind(ctx, d, f, nil)
}

// CompileBehind is Compile for a plan whose arguments stand behind others.
func CompileBehind(ctx context.Context, d Dialect, f store.Filter, args []any) (*Plan, error) {
	c := compiler{Dialect: d, plan: &Plan{Args: slices.Clone(args)}}
	for _, t := range f.Terms {
		if err := c.term(ctx, t); err != nil {
			return nil, err
		}
		if c.plan.Never {
			break
		}
	}
	return c.plan, nil
}

type compiler struct {
	Dialect
	plan *Plan
}

func (c *compiler) where(condition string, not bool) {
	condition = "(" + condition + ")"
	if not {
		condition = "NOT " + condition
	}
	c.plan.Where = append(c.plan.Where, condition)
}

func anyOf(conditions []string) string {
	if len(conditions) == 1 {
		return conditions[0]
	}
	return "(" + strings.Join(conditions, " OR ") + ")"
}

// residue leaves a term to Match.
func (c *compiler) residue(t store.Term) { c.plan.Rest.Terms = append(c.plan.Rest.Terms, t) }

func (c *compiler) term(ctx context.Context, t store.Term) error {
	switch t.Field {
	case store.FieldType, store.FieldTopic, store.FieldApp, store.FieldHost, store.FieldSource,
		store.FieldAgent, store.FieldSession, store.FieldProject:
		return c.named(ctx, t)
	case store.FieldID, store.FieldParent:
		c.identified(t)
	case store.FieldTrace:
		c.traced(t)
	case store.FieldIs:
		c.flagged(t)
	case store.FieldHas:
		c.has(t)
	case store.FieldSince, store.FieldUntil:
		c.timed(t)
	default:
		c.residue(t)
		c.narrow(t)
	}
	return nil
}

// column tells where the names of a field are kept.
func column(f store.Field) (columns []string, k Kind) {
	switch f {
	case store.FieldType, store.FieldTopic:
		return []string{"e.type"}, KindType
	case store.FieldApp:
		return []string{"e.app"}, KindApp
	case store.FieldHost:
		return []string{"e.host"}, KindHost
	case store.FieldSource:
		return []string{"e.source"}, KindSource
	case store.FieldAgent:
		return []string{"e.agent", "e.agent_type"}, KindAgent
	case store.FieldSession:
		return []string{"e.session"}, KindSession
	}
	return []string{"e.project"}, KindProject
}

// eventWith is how an event looks that has just this name. Kinds without globs
// need none.
func eventWith(k Kind, text string) bloodbank.Envelope {
	switch k {
	case KindType:
		return bloodbank.Envelope{EventType: bloodbank.EventType(text)}
	case KindApp:
		return bloodbank.Envelope{Source: bloodbank.Source{App: text}}
	case KindHost:
		return bloodbank.Envelope{Source: bloodbank.Source{Host: text}}
	case KindAgent:
		return bloodbank.Envelope{AgentContext: &bloodbank.AgentContext{Type: bloodbank.AgentType(text)}}
	}
	return bloodbank.Envelope{}
}

// named compiles a term on a column of names: it finds out which names match,
// so that the events are compared by number.
func (c *compiler) named(ctx context.Context, t store.Term) error {
	columns, k := column(t.Field)
	ids, err := c.lookup(ctx, t, k)
	if err != nil {
		return err
	}
	if len(ids) > Few {
		c.residue(t)
		return nil
	}
	if len(ids) == 0 {
		c.plan.Never = !t.Not
		return nil
	}
	in := c.Numbers(c.plan, ids)
	parts := make([]string, len(columns))
	for i, column := range columns {
		parts[i] = column + in
	}
	c.where(anyOf(parts), t.Not)
	if t.Not {
		return nil
	}
	switch k {
	case KindType:
		c.plan.Types = ids
	case KindSession, KindProject:
		if ids[0] == 0 {
			break
		}
		c.where(columns[0]+" <> 0", false) // names the partial index
		c.plan.Session = c.plan.Session || k == KindSession && len(ids) == 1
		c.plan.Project = c.plan.Project || k == KindProject && len(ids) == 1
	}
	return nil
}

// lookup returns the ids of the names that match any value of t, in order, 0
// among them where an event without a name matches.
func (c *compiler) lookup(ctx context.Context, t store.Term, k Kind) (ids []int64, err error) {
	globs := t.Field == store.FieldTopic
	if k != KindSource && k != KindSession && k != KindProject {
		globs = globs || slices.ContainsFunc(t.Values, func(v store.Value) bool { return !v.Phrase && strings.Contains(v.Text, "*") })
	}
	if globs {
		ids, err = c.matching(ctx, store.Filter{Terms: []store.Term{{Field: t.Field, Values: t.Values}}}, k)
	} else {
		ids, err = c.exact(ctx, t.Values, k)
	}
	slices.Sort(ids)
	return slices.Compact(ids), err
}

func (c *compiler) exact(ctx context.Context, values []store.Value, k Kind) ([]int64, error) {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = v.Text
	}
	ids, err := c.Find(ctx, k, texts)
	if k != KindAgent && slices.Contains(texts, "") {
		ids = append(ids, 0)
	}
	return ids, err
}

// matching applies a filter of one term to all names of a kind.
func (c *compiler) matching(ctx context.Context, one store.Filter, k Kind) (ids []int64, err error) {
	visit := func(id int64, text string) {
		if e := eventWith(k, text); one.Match(&e) {
			ids = append(ids, id)
		}
	}
	if k != KindAgent {
		visit(0, "")
	}
	err = c.Names(ctx, k, visit)
	return ids, err
}

func (c *compiler) identified(t store.Term) {
	var ids []bloodbank.EventID
	for _, v := range t.Values {
		if id, err := bloodbank.ParseEventID(v.Text); err == nil && id.String() == v.Text {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		c.plan.Never = !t.Not
		return
	}
	in := c.IDs(c.plan, ids)
	if t.Field == store.FieldParent {
		c.where("EXISTS (SELECT 1 FROM edges g WHERE g.child = e.sequence AND g.parent"+in+")", t.Not)
	} else {
		c.where("e.event_id"+in, t.Not)
	}
	switch {
	case t.Not:
	case t.Field == store.FieldParent:
		c.plan.Parents = ids
	default:
		c.plan.IDs = ids
	}
}

// traced compiles a trace: its events, and those that name one of its effects.
func (c *compiler) traced(t store.Term) {
	var ids, parents []bloodbank.EventID
	for _, v := range t.Values {
		i, p := v.TraceIDs()
		ids, parents = append(ids, i...), append(parents, p...)
	}
	if len(ids) == 0 {
		c.plan.Never = !t.Not
		return
	}
	byID := "e.event_id" + c.IDs(c.plan, ids)
	c.where(byID+" OR EXISTS (SELECT 1 FROM edges g WHERE g.child = e.sequence AND g.parent"+c.IDs(c.plan, parents)+")", t.Not)
	if !t.Not {
		c.plan.TraceIDs, c.plan.TraceParents = ids, parents
	}
}

func (c *compiler) flagged(t store.Term) {
	mask := 0
	for _, v := range t.Values {
		switch v.Text {
		case "failed":
			mask |= FlagFailed
		case "replayed":
			mask |= FlagReplayed
		}
	}
	// The second half names the partial index.
	c.where("e.flags & "+strconv.Itoa(mask)+" <> 0 AND e.flags <> 0", t.Not)
	c.plan.Flags = c.plan.Flags || !t.Not
}

func (c *compiler) has(t store.Term) {
	var parts []string
	for _, v := range t.Values {
		switch v.Text {
		case "parents":
			parts = append(parts, c.HasParents())
		case "agent":
			parts = append(parts, "e.agent_type <> 0")
		default:
			c.residue(t)
			return
		}
	}
	c.where(anyOf(parts), t.Not)
}

// timed compiles since and until. Times are kept in whole microseconds, and so
// are those of a filter.
func (c *compiler) timed(t store.Term) {
	op := ">="
	if t.Field == store.FieldUntil {
		op = "<="
	}
	parts := make([]string, len(t.Values))
	for i, v := range t.Values {
		parts[i] = c.Time(c.plan, op, v.Time.Truncate(time.Microsecond))
	}
	c.where(anyOf(parts), t.Not)
}
