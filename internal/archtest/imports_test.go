package archtest

import (
	"slices"
	"strings"
)

func checkImports(p *pkg) []finding {
	i := slices.IndexFunc(plan(), func(r room) bool { return r.path == p.path })
	if i < 0 {
		return []finding{{where: p.path, text: "is not on the plan; give it a line in internal/archtest/plan_test.go"}}
	}
	r := plan()[i]
	var found []finding
	for _, f := range p.files {
		for _, spec := range f.ast.Imports {
			target, ours := p.module.ours(spec)
			if !ours || f.allowed(r, target) {
				continue
			}
			found = append(found, f.finding(spec, "", "imports %s, which %s may not: %s", target, p.path, r.why))
		}
	}
	return found
}

// allowed reports whether the file, which belongs to the room, may import target.
func (f *file) allowed(r room, target string) bool {
	if permits(r.imports, target) {
		return true
	}
	if !f.test {
		return false
	}
	if slices.Contains(above(), target) && !slices.Contains(above(), r.path) {
		return false
	}
	return permits(testImports(r.path), target)
}

func permits(list []string, target string) bool {
	if slices.Contains(list, target) {
		return true
	}
	forTests := strings.HasSuffix(target, "test") || target == "internal/testenv"
	command := target == "cmd/bb" || target == "cli" || target == "schema/gen"
	return forTests && slices.Contains(list, suites) || !forTests && !command && slices.Contains(list, anything)
}
