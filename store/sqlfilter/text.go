package sqlfilter

import (
	"strings"

	"github.com/33god/bloodbank/store"
)

// narrow uses the index of words for a term that Match decides: the index knows
// no order of words and no members.
func (c *compiler) narrow(t store.Term) {
	if t.Not || t.Field != store.FieldText && t.Field != store.FieldPayload {
		return
	}
	var group []Words
	for _, v := range t.Values {
		w := Words{}
		if t.Field == store.FieldText {
			w.List, w.Prefix = v.Words()
		} else if isText(v) {
			w.List = store.Words(v.Text)
		}
		if len(w.List) == 0 {
			return
		}
		group = append(group, w)
	}
	c.plan.Text = append(c.plan.Text, group)
}

// isText reports whether only a text can be equal to the value of a member: then
// it has the same words. Numbers and single letters of JSON are not in the index.
func isText(v store.Value) bool {
	return v.Op == store.OpMatch && (v.Phrase || !strings.Contains(v.Text, "*") && !mayBeLiteral(v.Text))
}

// mayBeLiteral reports whether an unquoted value could stand for something that
// is no text in JSON: a number, true, false or null.
func mayBeLiteral(text string) bool {
	return text == "true" || text == "false" || text == "null" || strings.Trim(text, "+-.0123456789eE") == ""
}

// TextSyntax is how an index of words is asked.
type TextSyntax struct {
	And, Or string // with the spaces around them
	Quote   string // stands around a word, doubled within it
	Prefix  string // stands behind a word that may go on
	// Always is an alternative that every search has, or "".
	Always string
	// Cut is what [Indexer.Cut] was when the words were written.
	Cut func(string) string
}

// TextQuery is what the index of words must be asked for so that it yields all
// that could match, "" where it is of no help. Words are letters and digits, and
// quoted all the same: no text of a user is syntax.
func (p *Plan) TextQuery(s TextSyntax) string {
	groups := make([]string, len(p.Text))
	for i, group := range p.Text {
		var alternatives []string
		for _, w := range group {
			alternatives = append(alternatives, s.all(w))
		}
		if s.Always != "" {
			alternatives = append(alternatives, s.Always)
		}
		groups[i] = "(" + strings.Join(alternatives, s.Or) + ")"
	}
	return strings.Join(groups, s.And)
}

func (s TextSyntax) all(w Words) string {
	quoted := make([]string, len(w.List))
	for i, word := range w.List {
		quoted[i] = s.Quote + strings.ReplaceAll(s.Cut(word), s.Quote, s.Quote+s.Quote) + s.Quote
	}
	if w.Prefix {
		quoted[len(quoted)-1] += s.Prefix
	}
	return "(" + strings.Join(quoted, s.And) + ")"
}
