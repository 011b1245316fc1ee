package archtest

// exception excuses one place from one rule.
type exception struct {
	rule  string // the name of the rule
	where string // a file, or file:name, or a package folder, within the module
	why   string
}

// exceptions are all the places where a rule is broken on purpose. An exception
// that excuses nothing fails the test, so that the list stays true.
func exceptions() []exception {
	return []exception{
		{"panic", "httpapi/server.go", "net/http is told to cut a connection by the panic that it names, and such a panic is passed on"},
		{"package variables", "internal/testenv/shared.go:shared", "tests of one process share the servers that are slow to start; TestMain stops them"},
	}
}

// skipped are folders that are no part of the house.
func skipped() map[string]string {
	return map[string]string{
		"bench":        "a module of its own: it carries the peers that the product must not",
		"testdata":     "input of tests",
		"node_modules": "packages of the web UI's build",
		"dist":         "output of builds",
	}
}
