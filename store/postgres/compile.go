package postgres

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// plan is a filter as SQL. What SQL cannot decide exactly is left to rest,
// which [store.Filter.Match] applies to the events found: so the store finds
// what the live stream lets through, by construction.
//
// Members of the payload are always decided there and not by jsonb: that spells
// numbers anew, refuses \u0000, and compares by rules of its own.
type plan struct {
	where []string
	args  []any
	rest  store.Filter
	never bool // no event can match
	// few says that an index yields all candidates, and that they are few.
	few bool
}

// few is how many candidates may be sorted for each page. More are met soon
// enough in the order of time.
const few = 5000

// maxIDs is how many names are compared by number. A glob that more of them
// match is left to rest.
const maxIDs = 5000

type compiler struct {
	conn *pgx.Conn
	plan plan
	// words is the tsquery of all terms that the index of words narrows.
	words string
}

func compile(ctx context.Context, c *pgx.Conn, f store.Filter) (*plan, error) {
	x := &compiler{conn: c}
	for _, t := range f.Terms {
		if err := x.term(ctx, t); err != nil {
			return nil, err
		}
		if x.plan.never {
			return &x.plan, nil
		}
	}
	if x.words != "" {
		if err := x.probe(ctx, "events WHERE words @@ $1::tsquery", x.words); err != nil {
			return nil, err
		}
		x.where("e.words @@ "+x.bind(x.words)+"::tsquery", false)
	}
	return &x.plan, nil
}

// probe counts what an index yields, as far as few.
func (x *compiler) probe(ctx context.Context, source string, arg any) error {
	if x.plan.few {
		return nil
	}
	var n int
	err := x.conn.QueryRow(ctx, "SELECT count(*) FROM (SELECT 1 FROM "+source+" LIMIT $2) AS s", arg, few+1).Scan(&n)
	x.plan.few = n <= few
	return err
}

func (x *compiler) where(sql string, not bool) {
	if not {
		sql = "NOT (" + sql + ")"
	}
	x.plan.where = append(x.plan.where, sql)
}

// bind adds an argument and returns its placeholder: no value of a filter is
// ever part of the SQL.
func (x *compiler) bind(v any) string {
	x.plan.args = append(x.plan.args, v)
	return "$" + strconv.Itoa(len(x.plan.args))
}

// residue leaves a term to Match.
func (x *compiler) residue(t store.Term) { x.plan.rest.Terms = append(x.plan.rest.Terms, t) }

func (x *compiler) term(ctx context.Context, t store.Term) error {
	switch t.Field {
	case store.FieldType, store.FieldTopic, store.FieldApp, store.FieldHost, store.FieldSource,
		store.FieldAgent, store.FieldSession, store.FieldProject:
		return x.named(ctx, t)
	case store.FieldID, store.FieldParent:
		return x.identified(ctx, t)
	case store.FieldIs:
		x.flagged(t)
	case store.FieldHas:
		x.has(t)
	case store.FieldSince, store.FieldUntil:
		x.timed(t)
	case store.FieldText:
		x.residue(t)
		x.narrowByText(t)
	case store.FieldPayload:
		x.residue(t)
		x.narrowByPayload(t)
	default:
		x.residue(t)
	}
	return nil
}

// column tells where the names of a field are kept.
func column(f store.Field) (columns []string, k kind) {
	switch f {
	case store.FieldType, store.FieldTopic:
		return []string{"e.type"}, kindType
	case store.FieldApp:
		return []string{"e.app"}, kindApp
	case store.FieldHost:
		return []string{"e.host"}, kindHost
	case store.FieldSource:
		return []string{"e.source"}, kindSource
	case store.FieldAgent:
		return []string{"e.agent", "e.agent_type"}, kindAgent
	case store.FieldSession:
		return []string{"e.session"}, kindSession
	}
	return []string{"e.project"}, kindProject
}

// eventWith is how an event looks that has just this name.
func eventWith(k kind, text string) bloodbank.Envelope {
	switch k {
	case kindType:
		return bloodbank.Envelope{EventType: bloodbank.EventType(text)}
	case kindApp:
		return bloodbank.Envelope{Source: bloodbank.Source{App: text}}
	case kindHost:
		return bloodbank.Envelope{Source: bloodbank.Source{Host: text}}
	case kindAgent:
		return bloodbank.Envelope{AgentContext: &bloodbank.AgentContext{Type: bloodbank.AgentType(text)}}
	}
	return bloodbank.Envelope{}
}

// named compiles a term on a column of names: it finds out which names match,
// so that the events are compared by number.
func (x *compiler) named(ctx context.Context, t store.Term) error {
	columns, k := column(t.Field)
	ids, err := x.lookup(ctx, t, k)
	if err != nil {
		return err
	}
	if len(ids) > maxIDs {
		x.residue(t)
		return nil
	}
	if len(ids) == 0 {
		x.plan.never = !t.Not
		return nil
	}
	// One must read as an equality, which keeps an index in the order of time.
	in := " = ANY (" + x.bind(ids) + "::integer[])"
	if len(ids) == 1 {
		x.plan.args[len(x.plan.args)-1] = ids[0]
		in = " = $" + strconv.Itoa(len(x.plan.args)) + "::integer"
	}
	parts := make([]string, len(columns))
	for i, column := range columns {
		parts[i] = column + in
	}
	if !t.Not && ids[0] != 0 && (k == kindSession || k == kindProject) {
		parts[0] += " AND " + columns[0] + " <> 0" // names the partial index
	}
	x.where("("+strings.Join(parts, " OR ")+")", t.Not)
	if k == kindType && len(ids) > 1 && !t.Not {
		return x.probe(ctx, "events WHERE type = ANY ($1::integer[])", ids)
	}
	return nil
}

// lookup returns the ids of the names that match any value of t, in order, 0
// among them where an event without a name matches.
func (x *compiler) lookup(ctx context.Context, t store.Term, k kind) (ids []int32, err error) {
	globs := t.Field == store.FieldTopic
	if k != kindSource && k != kindSession && k != kindProject {
		globs = globs || slices.ContainsFunc(t.Values, func(v store.Value) bool { return !v.Phrase && strings.Contains(v.Text, "*") })
	}
	if globs {
		ids, err = x.matching(ctx, store.Filter{Terms: []store.Term{{Field: t.Field, Values: t.Values}}}, k)
	} else {
		ids, err = x.exact(ctx, t.Values, k)
	}
	slices.Sort(ids)
	return slices.Compact(ids), err
}

func (x *compiler) exact(ctx context.Context, values []store.Value, k kind) (ids []int32, err error) {
	var keys []name
	for _, v := range values {
		if v.Text == "" && k != kindAgent {
			ids = append(ids, 0)
		}
		keys = append(keys, name{k, v.Text})
	}
	found := map[name]int32{}
	if err := findNames(ctx, x.conn, keys, found); err != nil {
		return nil, err
	}
	return slices.AppendSeq(ids, maps.Values(found)), nil
}

// matching applies a filter of one term to all names of a kind.
func (x *compiler) matching(ctx context.Context, one store.Filter, k kind) (ids []int32, err error) {
	matches := func(text string) bool {
		e := eventWith(k, text)
		return one.Match(&e)
	}
	if k != kindAgent && matches("") {
		ids = append(ids, 0)
	}
	rows, err := x.conn.Query(ctx, "SELECT id, text FROM names WHERE kind = $1", int16(k))
	if err != nil {
		return nil, err
	}
	var id int32
	var text string
	_, err = pgx.ForEachRow(rows, []any{&id, &text}, func() error {
		if matches(unescape(text)) {
			ids = append(ids, id)
		}
		return nil
	})
	return ids, err
}

func (x *compiler) identified(ctx context.Context, t store.Term) error {
	var ids [][16]byte
	for _, v := range t.Values {
		if id, err := bloodbank.ParseEventID(v.Text); err == nil && id.String() == v.Text {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		x.plan.never = !t.Not
		return nil
	}
	if t.Field == store.FieldID {
		x.where("e.event_id = ANY ("+x.bind(ids)+"::uuid[])", t.Not)
		x.plan.few = x.plan.few || !t.Not
		return nil
	}
	if !t.Not {
		rows, err := x.conn.Query(ctx, "SELECT child FROM edges WHERE parent = ANY ($1::uuid[]) LIMIT $2", ids, few+1)
		if err != nil {
			return err
		}
		children, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return err
		}
		if len(children) <= few {
			x.where("e.sequence = ANY ("+x.bind(children)+"::bigint[])", false)
			x.plan.few = true
			return nil
		}
	}
	x.where("EXISTS (SELECT 1 FROM edges g WHERE g.child = e.sequence AND g.parent = ANY ("+x.bind(ids)+"::uuid[]))", t.Not)
	return nil
}

func (x *compiler) flagged(t store.Term) {
	mask := 0
	for _, v := range t.Values {
		switch v.Text {
		case "failed":
			mask |= flagFailed
		case "replayed":
			mask |= flagReplayed
		}
	}
	// The second half names the partial index.
	x.where("e.flags & "+strconv.Itoa(mask)+" <> 0 AND e.flags <> 0", t.Not)
}

func (x *compiler) has(t store.Term) {
	var alt []string
	for _, v := range t.Values {
		switch v.Text {
		case "parents":
			alt = append(alt, "e.parents <> '{}'")
		case "agent":
			alt = append(alt, "e.agent_type <> 0")
		default:
			x.residue(t)
			return
		}
	}
	x.where("("+strings.Join(alt, " OR ")+")", t.Not)
}

// timed compiles since and until. Times are kept in whole microseconds, and so
// are those of a filter.
func (x *compiler) timed(t store.Term) {
	op := " >= "
	if t.Field == store.FieldUntil {
		op = " <= "
	}
	var alt []string
	for _, v := range t.Values {
		alt = append(alt, "e.occurred_at"+op+x.bind(v.Time.Truncate(time.Microsecond))+"::timestamptz")
	}
	x.where("("+strings.Join(alt, " OR ")+")", t.Not)
}

// narrowByText uses the index, which knows no order of words; Match decides.
func (x *compiler) narrowByText(t store.Term) {
	var alt []string
	for _, v := range t.Values {
		words, prefix := v.Words()
		if t.Not || len(words) == 0 {
			return
		}
		alt = append(alt, allWords(words, prefix))
	}
	x.narrow(alt)
}

// narrowByPayload uses that a text value can only be equal to a text with the
// same words. Numbers and single letters of JSON are not in the index.
func (x *compiler) narrowByPayload(t store.Term) {
	var alt []string
	for _, v := range t.Values {
		words := store.Words(v.Text)
		literal := v.Phrase || !strings.Contains(v.Text, "*") && !mayBeLiteral(v.Text)
		if t.Not || v.Op != store.OpMatch || !literal || len(words) == 0 {
			return
		}
		alt = append(alt, allWords(words, false))
	}
	x.narrow(alt)
}

// mayBeLiteral reports whether an unquoted value could stand for something that
// is no text in JSON: a number, true, false or null.
func mayBeLiteral(text string) bool {
	return text == "true" || text == "false" || text == "null" || strings.Trim(text, "+-.0123456789eE") == ""
}

func (x *compiler) narrow(alt []string) {
	query := "(" + strings.Join(append(alt, "'"+overflow+"'"), " | ") + ")"
	if x.words != "" {
		query = x.words + " & " + query
	}
	x.words = query
}
