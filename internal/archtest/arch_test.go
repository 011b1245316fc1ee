package archtest

import (
	"path"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestHouse applies every rule to every package.
func TestHouse(t *testing.T) {
	t.Parallel()
	m := loadModule(t)
	if len(m.packages) < 5 {
		t.Fatalf("only %d packages were found; the rules look in the wrong place", len(m.packages))
	}
	used := make(map[exception]bool)
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			for _, p := range m.packages {
				for _, f := range r.check(p) {
					if e, ok := excused(r.name, f.where); ok {
						used[e] = true
						continue
					}
					t.Errorf("%s (line %d) %s\n\tthe rule: %s", f.where, f.line, f.text, r.why)
				}
			}
		})
	}
	for _, e := range exceptions() {
		if !used[e] {
			t.Errorf("the exception of %s from %q excuses nothing; take it off the list", e.where, e.rule)
		}
	}
}

// excused looks for an exception of the place, its file or its folder.
func excused(rule, where string) (exception, bool) {
	name, _, _ := strings.Cut(where, ":")
	for _, e := range exceptions() {
		if e.rule == rule && (e.where == where || e.where == name || e.where == path.Dir(name)) {
			return e, true
		}
	}
	return exception{}, false
}

// TestPlan checks the plan itself: every room once, and no way in a circle.
func TestPlan(t *testing.T) {
	t.Parallel()
	rooms := make(map[string]room)
	for _, r := range plan() {
		if _, twice := rooms[r.path]; twice {
			t.Errorf("%s is on the plan twice", r.path)
		}
		if r.why == "" {
			t.Errorf("%s has no reason", r.path)
		}
		rooms[r.path] = r
	}
	var visit func(name string, from []string)
	visit = func(name string, from []string) {
		for _, f := range from {
			if f == name {
				t.Fatalf("the plan allows a circle: %s", strings.Join(append(from, name), " -> "))
			}
		}
		for _, next := range rooms[name].imports {
			if _, known := rooms[next]; !known && next != anything {
				t.Errorf("%s may import %s, which is not on the plan", name, next)
			}
			visit(next, append(from[:len(from):len(from)], name))
		}
	}
	for name := range rooms {
		visit(name, nil)
	}
}
