package archtest

import (
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
)

// rule is one law of the house.
type rule struct {
	name  string
	why   string
	check func(*pkg) []finding
}

func rules() []rule {
	return []rule{
		{"imports", "the way between the rooms is part of the design; see plan_test.go", checkImports},
		{"package doc", "a package says what it is for and what it may not know", checkPackageDoc},
		{"exported doc", "units, limits, errors and special values stand where the reader decides", checkExportedDoc},
		{"file size", "a file of at most 500 lines can be held in the head", eachFile(checkFileSize)},
		{"function size", "a function of at most 80 lines can be read at once", eachFile(checkFunctionSize)},
		{"interface size", "a contract of at most 6 methods can be implemented by others", eachFile(checkInterfaceSize)},
		{"no init", "what happens at the start is written in app, where one can see and test it", eachFile(checkInit)},
		{"package variables", "only sentinel errors, embedded files and compiled regexps are global: state has an owner", eachFile(checkVariables)},
		{"context", "a context comes from the caller; only main and tests begin one", eachFile(checkContext)},
		{"no sleep in tests", "a test waits for what it needs, by a signal or in virtual time; a sleep is flaky or slow", eachFile(checkSleep)},
		{"names", "a name says what is inside; these say nothing", checkNames},
		{"panic", "bad input is an error with a message, never a panic", eachFile(checkPanic)},
		{"exit", "only main ends the process, so that everything else is closed first", eachFile(checkExit)},
		{"leak check", "every package with tests proves that its goroutines end", checkLeak},
	}
}

func eachFile(check func(*file) []finding) func(*pkg) []finding {
	return func(p *pkg) []finding {
		var found []finding
		for _, f := range p.files {
			found = append(found, check(f)...)
		}
		return found
	}
}

func checkFileSize(f *file) []finding {
	if n := f.line(f.ast.FileEnd - 1); n > 500 {
		return []finding{f.finding(f.ast, "", "has %d lines", n)}
	}
	return nil
}

func checkFunctionSize(f *file) []finding {
	var found []finding
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if n := f.line(fn.End()) - f.line(fn.Pos()) + 1; n > 80 {
			found = append(found, f.finding(fn, fn.Name.Name, "has %d lines", n))
		}
	}
	return found
}

func checkInterfaceSize(f *file) []finding {
	var found []finding
	ast.Inspect(f.ast, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if i, ok := spec.Type.(*ast.InterfaceType); ok && i.Methods.NumFields() > 6 {
			found = append(found, f.finding(spec, spec.Name.Name, "has %d methods", i.Methods.NumFields()))
		}
		return true
	})
	return found
}

func checkInit(f *file) []finding {
	var found []finding
	for _, d := range f.ast.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			found = append(found, f.finding(fn, "init", "declares init()"))
		}
	}
	return found
}

// checkVariables allows blank ones (interface checks) and, in tests, flags too.
func checkVariables(f *file) []finding {
	var found []finding
	for _, d := range f.ast.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.VAR {
			continue
		}
		for _, s := range decl.Specs {
			spec := s.(*ast.ValueSpec)
			if embeds(decl.Doc) || embeds(spec.Doc) {
				continue
			}
			for i, name := range spec.Names {
				if name.Name != "_" && !f.isConstant(spec, i) {
					found = append(found, f.finding(name, name.Name, "declares the variable %s", name.Name))
				}
			}
		}
	}
	return found
}

func embeds(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
}

// isConstant reports whether the variable is one that never changes.
func (f *file) isConstant(spec *ast.ValueSpec, i int) bool {
	if i >= len(spec.Values) {
		return false
	}
	value := spec.Values[i]
	if unary, ok := value.(*ast.UnaryExpr); ok && unary.Op == token.AND {
		lit, ok := unary.X.(*ast.CompositeLit)
		return ok && isSentinelName(spec.Names[i].Name) && strings.HasSuffix(typeName(lit.Type), "Error")
	}
	if _, ok := value.(*ast.SelectorExpr); ok { // the sentinel of a package below, under our name
		return isSentinelName(spec.Names[i].Name) && isSentinelName(typeName(value))
	}
	call, ok := value.(*ast.CallExpr)
	if !ok {
		return false
	}
	if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
		x, ok := sel.X.(*ast.Ident)
		switch {
		case ok && x.Name == f.importName("regexp") && strings.HasPrefix(sel.Sel.Name, "MustCompile"):
			return true
		case ok && f.test && x.Name == f.importName("flag"):
			return true
		}
	}
	name := typeName(call.Fun)
	return isSentinelName(spec.Names[i].Name) && (name == "New" || name == "Errorf")
}

func isSentinelName(s string) bool {
	rest := strings.TrimPrefix(strings.TrimPrefix(s, "Err"), "err")
	return rest != s && rest != "" && strings.ToUpper(rest[:1]) == rest[:1]
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

func checkContext(f *file) []finding {
	if f.test || f.ast.Name.Name == "main" {
		return nil
	}
	var found []finding
	for _, name := range []string{"Background", "TODO"} {
		f.calls("context", name, func(c *ast.CallExpr) {
			found = append(found, f.finding(c, "", "calls context.%s", name))
		})
	}
	return found
}

// checkSleep knows that inside of synctest.Test a sleep takes no time.
func checkSleep(f *file) []finding {
	local := f.importName("time")
	if !f.test && !f.pkg.suite() || local == "" {
		return nil
	}
	bubble := f.importName("testing/synctest")
	var found []finding
	ast.Inspect(f.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if ok && bubble != "" && isSelector(call.Fun, bubble, "Test") {
			return false
		}
		if ok && isSelector(call.Fun, local, "Sleep") {
			found = append(found, f.finding(call, "", "calls time.Sleep"))
		}
		return true
	})
	return found
}

func checkNames(p *pkg) []finding {
	forbidden := func(s string) bool {
		return slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "types", "models", "manager", "base"}, strings.ToLower(s))
	}
	var found []finding
	if forbidden(path.Base(p.path)) || forbidden(p.name()) {
		found = append(found, finding{where: p.path, text: "is a package with an empty name"})
	}
	for _, f := range p.files {
		stem := strings.TrimSuffix(strings.TrimSuffix(path.Base(f.path), ".go"), "_test")
		if slices.ContainsFunc(strings.Split(stem, "_"), forbidden) {
			found = append(found, f.finding(f.ast, "", "is a file with an empty name"))
		}
	}
	return found
}

func checkPanic(f *file) []finding {
	if f.test || f.pkg.suite() {
		return nil
	}
	var found []finding
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if id, ok := call.Fun.(*ast.Ident); ok && id.Name == "panic" {
				found = append(found, f.finding(call, "", "calls panic"))
			}
		}
		return true
	})
	return found
}

func checkExit(f *file) []finding {
	if f.test || f.ast.Name.Name == "main" {
		return nil
	}
	var found []finding
	f.calls("os", "Exit", func(c *ast.CallExpr) { found = append(found, f.finding(c, "", "calls os.Exit")) })
	for _, name := range []string{"Fatal", "Fatalf", "Fatalln"} {
		f.calls("log", name, func(c *ast.CallExpr) { found = append(found, f.finding(c, "", "calls log.%s", name)) })
	}
	return found
}

func checkLeak(p *pkg) []finding {
	tests, checked := false, false
	for _, f := range p.files {
		tests = tests || f.test
		if f.test {
			for _, name := range []string{"VerifyTestMain", "Find", "VerifyNone"} {
				f.calls("go.uber.org/goleak", name, func(*ast.CallExpr) { checked = true })
			}
		}
	}
	if tests && !checked {
		return []finding{{where: p.path, text: "has tests but no TestMain with goleak.VerifyTestMain"}}
	}
	return nil
}
