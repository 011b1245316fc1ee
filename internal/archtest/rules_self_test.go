package archtest

import (
	"go/token"
	"slices"
	"strings"
	"testing"
)

// example is a file with the number of findings that a rule must have in it.
type example struct {
	name, rule, file, source string
	want                     int
}

// TestRules shows for each rule what it finds and what it lets pass.
func TestRules(t *testing.T) {
	t.Parallel()
	for _, c := range slices.Concat(importExamples(), docExamples(), shapeExamples(), habitExamples()) {
		m := &module{path: "example.org/bb", fset: token.NewFileSet()}
		if err := m.add(c.file, []byte(c.source)); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		i := slices.IndexFunc(rules(), func(r rule) bool { return r.name == c.rule })
		if i < 0 {
			t.Errorf("%s: there is no rule %q", c.name, c.rule)
			continue
		}
		if found := rules()[i].check(m.packages[0]); len(found) != c.want {
			t.Errorf("%s: found %v, want %d findings", c.name, found, c.want)
		}
	}
}

func importExamples() []example {
	return []example{
		{"driver imports its role", "imports", "bus/jetstream/a.go", `package jetstream; import "example.org/bb/bus"`, 0},
		{"driver imports another driver", "imports", "bus/jetstream/a.go", `package jetstream; import "example.org/bb/store/sqlite"`, 1},
		{"driver imports a package with a longer name", "imports", "bus/jetstream/a.go", `package jetstream; import "example.org/bb/busy"`, 1},
		{"log imports the root", "imports", "wal/a.go", `package wal; import "example.org/bb"`, 1},
		{"test of the log imports the root", "imports", "wal/a_test.go", `package wal; import "example.org/bb"`, 1},
		{"test imports a suite", "imports", "store/sqlite/a_test.go", `package sqlite; import "example.org/bb/store/storetest"`, 0},
		{"driver imports a suite", "imports", "store/sqlite/a.go", `package sqlite; import "example.org/bb/store/storetest"`, 1},
		{"test imports upward", "imports", "store/sqlite/a_test.go", `package sqlite; import "example.org/bb/app"`, 1},
		{"app imports a driver", "imports", "app/a.go", `package app; import "example.org/bb/store/sqlite"`, 0},
		{"app imports a suite", "imports", "app/a.go", `package app; import "example.org/bb/bus/bustest"`, 1},
		{"app imports cli", "imports", "app/a.go", `package app; import "example.org/bb/cli"`, 1},
		{"door imports a door", "imports", "httpapi/a.go", `package httpapi; import "example.org/bb/voice/asrws"`, 1},
		{"others are free", "imports", "wal/a.go", `package wal; import "example.org/bbq"`, 0},
		{"not on the plan", "imports", "surprise/a.go", `package surprise`, 1},
	}
}

func docExamples() []example {
	return []example{
		{"package doc", "package doc", "bus/a.go", "// Package bus is a contract.\npackage bus", 0},
		{"no package doc", "package doc", "bus/a.go", "package bus", 1},
		{"wrong package doc", "package doc", "bus/a.go", "// Contracts.\npackage bus", 1},
		{"only tests", "package doc", "bus/a_test.go", "package bus", 0},

		{"exported doc", "exported doc", "bus/a.go", "package bus\n// A does.\nfunc A() {}\n// C is.\nconst (C = 1; D = 2)\ntype t int\nfunc (t) M() {}\nfunc b() {}", 0},
		{"no exported doc", "exported doc", "bus/a.go", "package bus\nfunc A() {}\nconst C = 1\ntype T[K any] int\nfunc (*T[K]) M() {}\nvar ErrX = 1", 5},
		{"methods of an interface", "exported doc", "bus/a.go", "package bus\n// I is. C does.\ntype I interface {\n\tA()\n\t// B does.\n\tB()\n\tC()\n\tD() // does\n}", 1},
		{"a small interface", "exported doc", "bus/a.go", "package bus\n// I is.\ntype I interface {\n\tA()\n\tB()\n\tC()\n}", 0},
		{"methods that the language gives a meaning", "exported doc", "bus/a.go", "package bus\n// T is.\ntype T struct{}\nfunc (T) Error() string { return \"\" }\nfunc (T) Unwrap() error { return nil }", 0},
		{"tests need none", "exported doc", "bus/a_test.go", "package bus\nfunc TestA() {}", 0},
	}
}

func shapeExamples() []example {
	long := func(n int) string { return strings.Repeat("\n", n) }
	return []example{
		{"500 lines", "file size", "bus/a.go", "package bus" + long(500), 0},
		{"501 lines", "file size", "bus/a.go", "package bus" + long(501), 1},
		{"80 lines", "function size", "bus/a.go", "package bus\nfunc a() {" + long(79) + "}", 0},
		{"81 lines", "function size", "bus/a.go", "package bus\nfunc a() {" + long(80) + "}", 1},
		{"6 methods", "interface size", "bus/a.go", "package bus\ntype i interface { A(); B(); C(); D(); E(); F() }", 0},
		{"7 methods", "interface size", "bus/a.go", "package bus\ntype i interface { A(); B(); C(); D(); E(); F(); G() }", 1},

		{"init", "no init", "bus/a.go", "package bus\nfunc init() {}", 1},
		{"method init", "no init", "bus/a.go", "package bus\nfunc (t) init() {}", 0},

		{"sentinels", "package variables", "bus/a.go", "package bus\nimport \"errors\"\nvar (ErrA = errors.New(\"a\"); errB = bloodbank.Errorf(x); ErrC = &Error{}; ErrD = segment.ErrD)\nvar _ I = (*T)(nil)", 0},
		{"embeds", "package variables", "bus/a.go", "package bus\nimport \"embed\"\n//go:embed a.json\nvar files embed.FS", 0},
		{"regexps", "package variables", "bus/a.go", "package bus\nimport \"regexp\"\nvar word = regexp.MustCompile(`a`)", 0},
		{"state", "package variables", "bus/a.go", "package bus\nvar count int\nvar table = map[string]int{}\nvar Errors = errors.New(\"\")\nvar ErrHandler = func() {}", 4},
		{"flags in tests", "package variables", "bus/a_test.go", "package bus\nimport \"flag\"\nvar update = flag.Bool(\"update\", false, \"\")", 0},
		{"flags elsewhere", "package variables", "bus/a.go", "package bus\nimport \"flag\"\nvar update = flag.Bool(\"update\", false, \"\")", 1},
	}
}

func habitExamples() []example {
	const leak = `import "go.uber.org/goleak"; func TestMain(m *M) { goleak.VerifyTestMain(m) }`
	return []example{
		{"background", "context", "bus/a.go", "package bus\nimport \"context\"\nfunc a() { b(context.Background(), context.TODO()) }", 2},
		{"background under another name", "context", "bus/a.go", "package bus\nimport ctx \"context\"\nfunc a() { ctx.Background() }", 1},
		{"background in main", "context", "cmd/bb/a.go", "package main\nimport \"context\"\nfunc main() { context.Background() }", 0},
		{"background in a test", "context", "bus/a_test.go", "package bus\nimport \"context\"\nfunc a() { context.Background() }", 0},

		{"sleep in a test", "no sleep in tests", "bus/a_test.go", "package bus\nimport \"time\"\nfunc a() { time.Sleep(1) }", 1},
		{"sleep in a suite", "no sleep in tests", "bus/bustest/a.go", "package bustest\nimport \"time\"\nfunc a() { time.Sleep(1) }", 1},
		{"sleep in virtual time", "no sleep in tests", "bus/a_test.go", "package bus\nimport (\"time\"; \"testing/synctest\")\nfunc a() { synctest.Test(t, func(t *T) { time.Sleep(1) }) }", 0},
		{"sleep elsewhere", "no sleep in tests", "bus/a.go", "package bus\nimport \"time\"\nfunc a() { time.Sleep(1) }", 0},

		{"empty package name", "names", "bus/util/a.go", "package util", 1},
		{"empty file name", "names", "bus/test_helpers_test.go", "package bus", 1},
		{"good name", "names", "bus/database.go", "package bus", 0},

		{"panic", "panic", "bus/a.go", "package bus\nfunc a() { panic(1) }", 1},
		{"panic in a suite", "panic", "bus/bustest/a.go", "package bustest\nfunc a() { panic(1) }", 0},
		{"panic in a test", "panic", "bus/a_test.go", "package bus\nfunc a() { panic(1) }", 0},
		{"exit", "exit", "bus/a.go", "package bus\nimport (\"os\"; \"log\")\nfunc a() { os.Exit(1); log.Fatal() }", 2},
		{"exit in main", "exit", "cmd/bb/main.go", "package main\nimport \"os\"\nfunc main() { os.Exit(1) }", 0},

		{"tests without a leak check", "leak check", "bus/a_test.go", "package bus\nfunc TestA() {}", 1},
		{"tests with a leak check", "leak check", "bus/a_test.go", "package bus\n" + leak, 0},
		{"no tests", "leak check", "bus/a.go", "package bus", 0},
	}
}
