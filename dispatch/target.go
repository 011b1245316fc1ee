package dispatch

import (
	"slices"
	"strings"

	"github.com/33god/bloodbank"
)

// MainTarget is the name of the main bus wherever targets are named: in dead
// letters, in filters and in answers.
const MainTarget = "bus"

// maxTarget is the longest name of a target, in bytes.
const maxTarget = 40

// CursorOf returns the name of a target's position in the log: "bus" for the main
// bus ("" or [MainTarget]), "bus-NAME" for any other.
func CursorOf(target string) string {
	if target = targetName(target); target != MainTarget {
		return CursorName + "-" + target
	}
	return CursorName
}

// targetOf is the opposite of CursorOf; false for the cursor of somebody else.
func targetOf(cursor string) (string, bool) {
	if cursor == CursorName {
		return MainTarget, true
	}
	return strings.CutPrefix(cursor, CursorName+"-")
}

// CheckTarget says whether a target may have this name: 1 to 40 letters, digits,
// dots, dashes and underscores, and not that of the main bus. The error has
// CodeInvalid.
func CheckTarget(name string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"
	switch {
	case name == MainTarget:
		return bloodbank.Errorf(bloodbank.CodeInvalid, "a target cannot be named %q, which is the main bus; choose another name", name)
	case name == "" || len(name) > maxTarget || strings.Trim(name, allowed) != "":
		return bloodbank.Errorf(bloodbank.CodeInvalid, "a target cannot be named %q; use 1 to %d letters, digits, dots, dashes or underscores", name, maxTarget)
	}
	return nil
}

func targetName(target string) string {
	if target == "" {
		return MainTarget
	}
	return target
}

// Rule says which events a target takes; the zero Rule takes all. What it does
// not take is settled for the target where the log is read, and never crosses
// the wire.
type Rule struct {
	// Types are globs as of [bloodbank.EventType.Match]; an event must match one
	// of them. None means all. They cost next to nothing.
	Types []string
	// Match must be true as well; nil means all. Only it needs the event decoded,
	// so it is asked last. It must not keep the envelope, must always answer the
	// same for the same event, and is called from one goroutine.
	Match func(*bloodbank.Envelope) bool
}

func (r Rule) all() bool { return len(r.Types) == 0 && r.Match == nil }

// takes reports whether the target takes m. A record that is no event is what no
// rule asks for; it is the main bus that lists it.
func (r Rule) takes(m *message) bool {
	if m.refused != "" {
		return false
	}
	if len(r.Types) > 0 && !slices.ContainsFunc(r.Types, m.bus.Type.Match) {
		return false
	}
	if r.Match == nil {
		return true
	}
	e, err := bloodbank.DecodeEnvelope(m.bus.Data)
	return err == nil && r.Match(&e)
}
