package store

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/33god/bloodbank"
)

// ParseFilter reads the filter language:
//
//	type:agent.* -app:heartbeat payload.confidence:>0.8 since:15m lights "turn on"
//
// Terms are separated by spaces (tab and line breaks count) and must all hold.
// A term is key:value, a word, or a "quoted phrase"; a - before it negates it.
// Behind a key, commas separate alternatives. Text in double quotes is literal:
// no wildcard, no comma, no operator; \" and \\ stand for a quote and a
// backslash, any other backslash for itself.
//
// The keys are the [Field] constants; payload is followed by the way to the
// member (payload.audio.rate:16000), a name with a dot, colon, comma, quote or
// space in it in double quotes. A payload value may begin with >, >=, < or <=.
// since and until take RFC 3339, a date (the whole day, in UTC), or a time
// before now made of w, d, h, m and s (1h30m).
//
// A bare word that looks like an event type is one: it begins with a letter or
// *, consists of letters, digits, _, -, * and single dots, and has a dot, or a *
// before its end, or is * alone. Then it means type:, also where several are
// joined by commas; with a # among its words it means topic:. So agent.*,
// *failed and transcription.voice.completed are types, while lights and light*
// are words to search for (a * at the end makes it a prefix). Quote a file name
// to search for it.
//
// now is the time that relative times count from. An error has CodeInvalid and
// names the term, the byte (from 0) where it begins, and the way out.
func ParseFilter(text string, now time.Time) (Filter, error) {
	if len(text) > MaxFilterBytes {
		return Filter{}, bloodbank.Errorf(bloodbank.CodeInvalid, "the filter has %d bytes; the limit is %d", len(text), MaxFilterBytes)
	}
	if !utf8.ValidString(text) {
		return Filter{}, bloodbank.Errorf(bloodbank.CodeInvalid, "the filter is not valid UTF-8; send it as UTF-8 text")
	}
	p := parser{text: text, now: now}
	var f Filter
	values := 0
	for p.skipSpace(); p.pos < len(p.text); p.skipSpace() {
		p.start = p.pos
		t, err := p.term()
		if err != nil {
			return Filter{}, err
		}
		f.Terms = append(f.Terms, t)
		values += len(t.Values)
		if len(f.Terms) > MaxFilterTerms || values > MaxFilterValues {
			return Filter{}, p.fail("is one too many: a filter has at most %d terms with %d values together", MaxFilterTerms, MaxFilterValues)
		}
	}
	return f, nil
}

// parser reads one filter. start is where the current term begins.
type parser struct {
	text       string
	now        time.Time
	pos, start int
}

func (p *parser) term() (Term, error) {
	not := p.accept('-')
	if p.atEnd() {
		return Term{}, p.fail("has nothing to negate; write the term right behind the -")
	}
	t, err := p.condition()
	t.Not = not
	if err == nil && !p.atEnd() {
		err = p.fail("has more text behind a quote; put a space between them, or \\\" for a quote inside quotes")
	}
	return t, err
}

func (p *parser) condition() (Term, error) {
	if p.peek() == '"' {
		return p.values(Term{Field: FieldText}, false)
	}
	if strings.HasPrefix(p.text[p.pos:], "payload.") {
		if t, found, err := p.payload(); found || err != nil {
			return t, err
		}
	}
	key, found := keyOf(p.text[p.pos:])
	if !found {
		return p.bare()
	}
	field := Field(key)
	if !field.isKey() {
		return Term{}, p.fail("has a key that is not known; use %s, or put text to search for in quotes", keyList)
	}
	p.pos += len(key) + 1
	return p.values(Term{Field: field}, true)
}

const keyList = "type, topic, app, host, source, agent, session, project, id, parent, trace, is, has, text, since, until or payload.<member>"

func (f Field) isKey() bool {
	switch f {
	case FieldText, FieldType, FieldTopic, FieldApp, FieldHost, FieldSource, FieldAgent, FieldSession, FieldProject,
		FieldID, FieldParent, FieldTrace, FieldIs, FieldHas, FieldSince, FieldUntil:
		return true
	}
	return false
}

// keyOf returns what stands before the first colon of s where that could be a
// key: a letter, then letters, digits, dots, _ and -.
func keyOf(s string) (key string, found bool) {
	for i := range len(s) {
		switch c := s[i]; {
		case c == ':' && i > 0:
			return s[:i], true
		case !isTypeByte(c) || i == 0 && !isLetter(c):
			return "", false
		}
	}
	return "", false
}

// payload reads payload.<path>:<values>. Without a colon it is no such term,
// and nothing is consumed.
func (p *parser) payload() (t Term, found bool, err error) {
	begin := p.pos
	p.pos += len("payload.")
	path, err := p.path()
	if err != nil {
		return Term{}, false, err
	}
	if p.accept(':') {
		t, err = p.values(Term{Field: FieldPayload, Path: path}, true)
		return t, true, err
	}
	if strings.ContainsAny(p.text[begin:p.pos], `"<>=`) {
		return Term{}, false, p.fail("lacks a colon behind the member; write it as payload.member:value or payload.member:>5")
	}
	p.pos = begin
	return Term{}, false, nil
}

// path reads member names joined by dots.
func (p *parser) path() ([]string, error) {
	var path []string
	for {
		var name string
		if p.peek() == '"' {
			var err error
			if name, err = p.quoted(); err != nil {
				return nil, err
			}
		} else if name = p.run(" \t\r\n.:,\""); name == "" {
			return nil, p.fail("has an empty member name; write payload.member, and a name with dots in quotes")
		}
		path = append(path, name)
		if len(path) > MaxFilterPath {
			return nil, p.fail("goes more than %d members deep", MaxFilterPath)
		}
		if !p.accept('.') {
			return path, nil
		}
	}
}

// bare reads a word without a key.
func (p *parser) bare() (Term, error) {
	word := p.run(" \t\r\n")
	field := bareField(word)
	if strings.Contains(word, `"`) {
		return Term{}, p.fail(`has a quote inside a word; put all of it in quotes and write \" for a quote`)
	}
	if field != FieldText {
		p.pos -= len(word)
		return p.values(Term{Field: field}, true)
	}
	v, err := p.value(Term{Field: FieldText}, word, strings.Contains(word, ","))
	return Term{Field: FieldText, Values: []Value{v}}, err
}

// values reads the alternatives behind a key; without list only one.
func (p *parser) values(t Term, list bool) (Term, error) {
	for {
		v, err := p.oneValue(t)
		if err != nil {
			return Term{}, err
		}
		t.Values = append(t.Values, v)
		if !list || !p.accept(',') {
			break
		}
	}
	if len(t.Values) > 1 && (t.Field == FieldSince || t.Field == FieldUntil) {
		return Term{}, p.fail("names several times; %s takes one", t.Field)
	}
	return t, nil
}

func (p *parser) oneValue(t Term) (Value, error) {
	if p.peek() == '"' {
		text, err := p.quoted()
		if err != nil {
			return Value{}, err
		}
		return p.value(t, text, true)
	}
	if t.Field == FieldHas && strings.HasPrefix(p.text[p.pos:], "payload.") {
		p.pos += len("payload.")
		path, err := p.path()
		if err == nil && !p.atEnd() && p.peek() != ',' {
			err = p.fail("has a value behind has:payload; write payload.member:value to compare it")
		}
		return Value{Text: pathText(path), Path: path}, err
	}
	text := p.run(" \t\r\n,")
	if text == "" {
		return Value{}, p.fail(`has an empty value; write one behind the key and each comma, or "" for the empty text`)
	}
	if strings.Contains(text, `"`) {
		return Value{}, p.fail(`has a quote inside a value; put all of the value in quotes and write \" for a quote`)
	}
	return p.value(t, text, false)
}

// quoted reads text in quotes, the opening one at p.pos.
func (p *parser) quoted() (string, error) {
	b := new(strings.Builder)
	for i := p.pos + 1; i < len(p.text); i++ {
		c := p.text[i]
		if c == '"' {
			p.pos = i + 1
			return b.String(), nil
		}
		if c == '\\' && i+1 < len(p.text) && (p.text[i+1] == '"' || p.text[i+1] == '\\') {
			i++
			c = p.text[i]
		}
		b.WriteByte(c)
	}
	return "", p.fail(`lacks the closing quote; add a "`)
}
