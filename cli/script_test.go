package cli_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the command line as people and their scripts do. Each script
// has a folder, a data folder and, once it says "up", a server of its own.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("BB_DATA_DIR", filepath.Join(env.WorkDir, "data"))
			env.Setenv("BB_URL", "http://127.0.0.1:1") // nobody is there until "up"
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("TZ", "UTC")
			env.Values[serverKey{}] = new(scriptServer)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"up": scriptUp, "down": scriptDown, "kill9": scriptKill, "field": scriptField, "lines": scriptLines, "tamper": scriptTamper,
		},
		RequireExplicitExec: true,
		ContinueOnError:     false,
	})
}

// scriptServer is the server of a script.
type scriptServer struct{ *server }

type serverKey struct{}

func serverOf(ts *testscript.TestScript) *scriptServer {
	return ts.Value(serverKey{}).(*scriptServer)
}

// scriptUp starts a server: up [FLAG…]. It sets BB_URL.
func scriptUp(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("use ! exec bb up")
	}
	s, ready, err := startServer(ts.Getenv("BB_DATA_DIR"), args...)
	ts.Check(err)
	ts.Defer(s.kill)
	ts.Check(s.awaitReady(context.Background(), ready))
	ts.Setenv("BB_URL", s.url)
	serverOf(ts).server = s
}

// scriptDown stops the server and checks that it ended well.
func scriptDown(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(serverOf(ts).stop())
}

// scriptKill ends the server without warning.
func scriptKill(ts *testscript.TestScript, _ bool, _ []string) { serverOf(ts).kill() }

// scriptField sets a variable from the last output: field NAME KEY. The output's
// first line must be a JSON object.
func scriptField(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: field NAME KEY")
	}
	line, _, _ := strings.Cut(ts.ReadFile("stdout"), "\n")
	var object map[string]any
	ts.Check(json.Unmarshal([]byte(line), &object))
	text, ok := object[args[1]].(string)
	if !ok {
		ts.Fatalf("%s is not text in %s", args[1], line)
	}
	ts.Setenv(args[0], text)
}

// scriptLines checks how many lines the last output has: lines N.
func scriptLines(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: lines N")
	}
	var want int
	ts.Check(json.Unmarshal([]byte(args[0]), &want))
	if got := strings.Count(ts.ReadFile("stdout"), "\n"); (got == want) == neg {
		ts.Fatalf("the output has %d lines, want %d", got, want)
	}
}

// scriptTamper changes the store of the script past bb: tamper SQL.
func scriptTamper(ts *testscript.TestScript, _ bool, args []string) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(ts.Getenv("BB_DATA_DIR"), "events.db")+"?_pragma=busy_timeout(10000)")
	ts.Check(err)
	defer db.Close()
	_, err = db.Exec(strings.Join(args, " "))
	ts.Check(err)
}
