package dispatch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/33god/bloodbank"
)

// Filter chooses open dead letters. All that is set must hold; the zero Filter
// chooses all.
type Filter struct {
	// Type is a glob as of [bloodbank.EventType.Match].
	Type string `json:"type,omitempty"`
	// Reason is a part of the reason, in any case.
	Reason string `json:"reason,omitempty"`
	// Target is a target's name; [MainTarget] for the main bus.
	Target string `json:"target,omitempty"`
	// Since and Until bound when it became a dead letter: from Since on, before
	// Until.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Numbers are dead letters by number; nil means any.
	Numbers []uint64 `json:"numbers,omitempty"`
}

// Match reports whether the filter chooses the dead letter.
func (f Filter) Match(l DeadLetter) bool {
	return (f.Type == "" || l.EventType.Match(f.Type)) &&
		(f.Reason == "" || strings.Contains(strings.ToLower(l.Reason), strings.ToLower(f.Reason))) &&
		(f.Target == "" || l.Target == f.Target) &&
		(f.Since.IsZero() || !l.At.Before(f.Since)) &&
		(f.Until.IsZero() || l.At.Before(f.Until)) &&
		(f.Numbers == nil || slices.Contains(f.Numbers, l.Number))
}

// List is Find with the filter that chooses all.
func (d *DeadLetters) List(after uint64, limit int) []DeadLetter {
	return d.Find(Filter{}, after, limit)
}

// Find returns up to limit open dead letters (all with a limit below 1) that the
// filter chooses and whose number is above after, oldest first, without their
// events. Those that were delivered and wait to be closed are among them; see
// DeadLetter.ConfirmedAt.
func (d *DeadLetters) Find(f Filter, after uint64, limit int) []DeadLetter {
	list := d.choose(f)
	list = slices.DeleteFunc(list, func(l DeadLetter) bool { return l.Number <= after })
	slices.SortFunc(list, func(a, b DeadLetter) int { return cmp.Compare(a.Number, b.Number) })
	if limit > 0 {
		list = list[:min(limit, len(list))]
	}
	return list
}

// Count says how many open dead letters the filter chooses.
func (d *DeadLetters) Count(f Filter) int { return len(d.choose(f)) }

// Open counts the open dead letters.
func (d *DeadLetters) Open() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.open)
}

func (d *DeadLetters) choose(f Filter) []DeadLetter {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []DeadLetter
	for _, letter := range d.open {
		if f.Match(letter) {
			list = append(list, letter)
		}
	}
	return list
}

// inOrder is choose in the order of the log, in which they are sent again. Those
// that were delivered are left out, unless they are named.
func (d *DeadLetters) inOrder(f Filter) []DeadLetter {
	list := d.choose(f)
	if f.Numbers == nil {
		list = slices.DeleteFunc(list, DeadLetter.delivered)
	}
	slices.SortFunc(list, func(a, b DeadLetter) int { return markOf(a).compare(markOf(b)) })
	return list
}

// mark is a place in that order.
type mark struct{ seq, number uint64 }

func markOf(l DeadLetter) mark { return mark{l.Sequence, l.Number} }

func (m mark) compare(o mark) int {
	return cmp.Or(cmp.Compare(m.seq, o.seq), cmp.Compare(m.number, o.number))
}

func (m mark) String() string { return fmt.Sprintf("%d.%d", m.seq, m.number) }

// parseMark reads what String wrote; "" is the beginning.
func parseMark(text string) (m mark, err error) {
	if text == "" {
		return mark{}, nil
	}
	if n, err := fmt.Sscanf(text, "%d.%d", &m.seq, &m.number); err != nil || n != 2 || m.String() != text {
		return mark{}, bloodbank.Errorf(bloodbank.CodeInvalid, "%.40q is no place to go on from; use the next of an earlier answer", text)
	}
	return m, nil
}
