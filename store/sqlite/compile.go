package sqlite

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// plan is a filter as SQL. What SQL cannot decide exactly is left to rest,
// which [store.Filter.Match] applies to the events found: so the store finds
// what the live stream lets through, by construction.
//
// Members of the payload are always decided there and not by json_extract. That
// compares 64-bit numbers, text and lists by rules of its own and parses the
// event as well, so it would save nothing.
type plan struct {
	// from yields the candidates as e. It says which index to use, because
	// SQLite knows nothing about how values are spread.
	from     string
	fromArgs []any
	where    []string
	args     []any
	rest     store.Filter
	never    bool // no event can match
}

// few is how many candidates may be sorted for each page. More are met soon
// enough in the order of time.
const few = 5000

// compiler makes a plan within one snapshot.
type compiler struct {
	tx   *sql.Tx
	plan plan
	// What could narrow the search, best first when chosen.
	ids, parents     []any
	words            string
	session, project bool
	types            []int64
	flags            bool
}

func compile(ctx context.Context, tx *sql.Tx, f store.Filter) (*plan, error) {
	c := &compiler{tx: tx}
	for _, t := range f.Terms {
		if err := c.term(ctx, t); err != nil {
			return nil, err
		}
		if c.plan.never {
			return &c.plan, nil
		}
	}
	return &c.plan, c.choose(ctx)
}

func (c *compiler) where(sql string, args ...any) {
	c.plan.where = append(c.plan.where, sql)
	c.plan.args = append(c.plan.args, args...)
}

// residue leaves a term to Match.
func (c *compiler) residue(t store.Term) { c.plan.rest.Terms = append(c.plan.rest.Terms, t) }

func (c *compiler) term(ctx context.Context, t store.Term) error {
	switch t.Field {
	case store.FieldType, store.FieldTopic, store.FieldApp, store.FieldHost, store.FieldSource,
		store.FieldAgent, store.FieldSession, store.FieldProject:
		return c.named(ctx, t)
	case store.FieldID, store.FieldParent:
		c.identified(t)
	case store.FieldIs:
		c.flagged(t)
	case store.FieldHas:
		c.has(t)
	case store.FieldSince, store.FieldUntil:
		c.timed(t)
	case store.FieldText:
		c.text(t)
	case store.FieldPayload:
		c.residue(t)
		c.narrowByPayload(t)
	default:
		c.residue(t)
	}
	return nil
}

// column tells where the names of a field are kept and how an event looks that
// has just that name.
func column(f store.Field) (columns []string, k kind, event func(text string) bloodbank.Envelope) {
	switch f {
	case store.FieldType, store.FieldTopic:
		return []string{"e.type"}, kindType, func(s string) bloodbank.Envelope { return bloodbank.Envelope{EventType: bloodbank.EventType(s)} }
	case store.FieldApp:
		return []string{"e.app"}, kindApp, func(s string) bloodbank.Envelope { return bloodbank.Envelope{Source: bloodbank.Source{App: s}} }
	case store.FieldHost:
		return []string{"e.host"}, kindHost, func(s string) bloodbank.Envelope { return bloodbank.Envelope{Source: bloodbank.Source{Host: s}} }
	case store.FieldSource:
		return []string{"e.source"}, kindSource, func(s string) bloodbank.Envelope {
			return bloodbank.Envelope{Source: bloodbank.Source{Type: bloodbank.SourceType(s)}}
		}
	case store.FieldAgent:
		return []string{"e.agent", "e.agent_type"}, kindAgent, func(s string) bloodbank.Envelope {
			return bloodbank.Envelope{AgentContext: &bloodbank.AgentContext{Type: bloodbank.AgentType(s)}}
		}
	case store.FieldSession:
		return []string{"e.session"}, kindSession, nil
	}
	return []string{"e.project"}, kindProject, nil
}

// named compiles a term on a column of names: it finds out which names match,
// so that the events are compared by number.
func (c *compiler) named(ctx context.Context, t store.Term) error {
	columns, k, event := column(t.Field)
	ids, err := c.lookup(ctx, t, k, event)
	if err != nil {
		return err
	}
	if len(ids) > few {
		c.residue(t)
		return nil
	}
	if len(ids) == 0 {
		c.plan.never = !t.Not
		return nil
	}
	in := inList(ids)
	parts := make([]string, len(columns))
	for i, column := range columns {
		parts[i] = column + in
	}
	if t.Not {
		c.where("NOT (" + strings.Join(parts, " OR ") + ")")
		return nil
	}
	c.where("(" + strings.Join(parts, " OR ") + ")")
	single := len(ids) == 1 && ids[0] != 0
	switch {
	case k == kindType:
		c.types = ids
	case k == kindSession && single:
		c.session = true
		c.where("e.session <> 0")
	case k == kindProject && single:
		c.project = true
		c.where("e.project <> 0")
	}
	return nil
}

// inList compares with numbers of ours. One of them must read as an equality,
// which keeps an index in the order of time.
func inList(ids []int64) string {
	if len(ids) == 1 {
		return " = " + strconv.FormatInt(ids[0], 10)
	}
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = strconv.FormatInt(id, 10)
	}
	return " IN (" + strings.Join(texts, ",") + ")"
}

// lookup returns the ids of the names that match any value of t, 0 among them
// where an event without a name matches.
func (c *compiler) lookup(ctx context.Context, t store.Term, k kind, event func(string) bloodbank.Envelope) ([]int64, error) {
	exact := event == nil
	if !exact {
		exact = t.Field != store.FieldTopic && !slices.ContainsFunc(t.Values, func(v store.Value) bool { return !v.Phrase && strings.Contains(v.Text, "*") })
	}
	var ids []int64
	if exact {
		for _, v := range t.Values {
			if v.Text == "" && k != kindAgent {
				ids = append(ids, 0)
			}
			err := c.collect(ctx, "SELECT id, '' FROM names WHERE kind = ? AND text = ?", []any{int64(k), v.Text}, func(id int64, _ string) { ids = append(ids, id) })
			if err != nil {
				return nil, err
			}
		}
	} else {
		one := store.Filter{Terms: []store.Term{{Field: t.Field, Values: t.Values}}}
		matches := func(text string) bool {
			e := event(text)
			return one.Match(&e)
		}
		if k != kindAgent && matches("") {
			ids = append(ids, 0)
		}
		err := c.collect(ctx, "SELECT id, text FROM names WHERE kind = ?", []any{int64(k)}, func(id int64, text string) {
			if matches(text) {
				ids = append(ids, id)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

func (c *compiler) collect(ctx context.Context, query string, args []any, visit func(id int64, text string)) error {
	rows, err := c.tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	return eachRow(rows, func() error {
		var id int64
		var text string
		err := rows.Scan(&id, &text)
		visit(id, text)
		return err
	})
}

func (c *compiler) identified(t store.Term) {
	var ids []any
	for _, v := range t.Values {
		if id, err := bloodbank.ParseEventID(v.Text); err == nil && id.String() == v.Text {
			ids = append(ids, id[:])
		}
	}
	if len(ids) == 0 {
		c.plan.never = !t.Not
		return
	}
	in := "IN (?" + strings.Repeat(",?", len(ids)-1) + ")"
	if t.Field == store.FieldParent {
		in = "EXISTS (SELECT 1 FROM edges g WHERE g.child = e.sequence AND g.parent " + in + ")"
	} else {
		in = "e.event_id " + in
	}
	switch {
	case t.Not:
		in = "NOT " + in
	case t.Field == store.FieldParent:
		c.parents = ids
	default:
		c.ids = ids
	}
	c.where(in, ids...)
}

func (c *compiler) flagged(t store.Term) {
	mask := 0
	for _, v := range t.Values {
		switch v.Text {
		case "failed":
			mask |= flagFailed
		case "replayed":
			mask |= flagReplayed
		}
	}
	if t.Not {
		c.where("e.flags & " + strconv.Itoa(mask) + " = 0")
		return
	}
	c.where("e.flags & " + strconv.Itoa(mask) + " <> 0 AND e.flags <> 0")
	c.flags = true
}

func (c *compiler) has(t store.Term) {
	var alt []string
	for _, v := range t.Values {
		switch v.Text {
		case "parents":
			alt = append(alt, "e.parents <> x''")
		case "agent":
			alt = append(alt, "e.agent_type <> 0")
		default:
			c.residue(t)
			return
		}
	}
	cond := "(" + strings.Join(alt, " OR ") + ")"
	if t.Not {
		cond = "NOT " + cond
	}
	c.where(cond)
}

// timed compiles since and until. Times are kept in whole microseconds, and so
// are those of a filter.
func (c *compiler) timed(t store.Term) {
	op := ">="
	if t.Field == store.FieldUntil {
		op = "<="
	}
	var alt []string
	var args []any
	for _, v := range t.Values {
		alt = append(alt, "e.time_us "+op+" ?")
		args = append(args, v.Time.UnixMicro())
	}
	cond := strings.Join(alt, " OR ")
	if len(alt) > 1 {
		cond = "(" + cond + ")"
	}
	if t.Not {
		cond = "NOT (" + cond + ")"
	}
	c.where(cond, args...)
}

// text narrows by the index and leaves the decision to Match: the index knows
// no order of words.
func (c *compiler) text(t store.Term) {
	c.residue(t)
	if t.Not {
		return
	}
	var alt []string
	for _, v := range t.Values {
		words, prefix := v.Words()
		if len(words) == 0 {
			return
		}
		alt = append(alt, allWords(words, prefix))
	}
	c.narrow(alt)
}

// narrowByPayload uses that a text value can only be equal to a text with the
// same words. Numbers and single letters of JSON are not in the index.
func (c *compiler) narrowByPayload(t store.Term) {
	if t.Not {
		return
	}
	var alt []string
	for _, v := range t.Values {
		words := store.Words(v.Text)
		literal := v.Phrase || !strings.Contains(v.Text, "*") && !mayBeLiteral(v.Text)
		if v.Op != store.OpMatch || !literal || len(words) == 0 {
			return
		}
		alt = append(alt, allWords(words, false))
	}
	c.narrow(alt)
}

// mayBeLiteral reports whether an unquoted value could stand for something that
// is no text in JSON: a number, true, false or null.
func mayBeLiteral(text string) bool {
	return text == "true" || text == "false" || text == "null" || strings.Trim(text, "+-.0123456789eE") == ""
}

func (c *compiler) narrow(alt []string) {
	all := "(" + strings.Join(alt, " OR ") + ")"
	if c.words != "" {
		all = c.words + " AND " + all
	}
	c.words = all
}

// allWords is an expression of the index for all of these words. They are
// letters and digits, and quoted all the same: no text of a user is syntax.
func allWords(words []string, prefix bool) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = `"` + strings.ReplaceAll(cutWord(w), `"`, `""`) + `"`
	}
	if prefix {
		quoted[len(quoted)-1] += " *"
	}
	return "(" + strings.Join(quoted, " AND ") + ")"
}
