package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module is the source of all packages.
type module struct {
	path     string // as in go.mod
	fset     *token.FileSet
	packages []*pkg // by path
}

// pkg is one folder with Go files.
type pkg struct {
	module *module
	path   string // within the module; "." is the root
	files  []*file
}

type file struct {
	pkg  *pkg
	path string // within the module
	ast  *ast.File
	test bool // its name ends in _test.go
}

// finding is one broken rule.
type finding struct {
	where string // file, file:name or folder, as an exception names it
	line  int
	text  string
}

func (f *file) finding(at ast.Node, name, format string, args ...any) finding {
	where := f.path
	if name != "" {
		where += ":" + name
	}
	return finding{where, f.line(at.Pos()), fmt.Sprintf(format, args...)}
}

func (f *file) line(p token.Pos) int { return f.pkg.module.fset.Position(p).Line }

// suite reports whether the package exists only for tests.
func (p *pkg) suite() bool {
	return strings.HasSuffix(p.path, "test") || p.path == "internal/testenv"
}

// name is the package's name as its files have it.
func (p *pkg) name() string {
	for _, f := range p.files {
		return strings.TrimSuffix(f.ast.Name.Name, "_test")
	}
	return ""
}

// add parses one file into its package; files that do not parse are an error.
func (m *module) add(name string, source []byte) error {
	tree, err := parser.ParseFile(m.fset, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	folder := path.Dir(name)
	i := slices.IndexFunc(m.packages, func(p *pkg) bool { return p.path == folder })
	if i < 0 {
		i = len(m.packages)
		m.packages = append(m.packages, &pkg{module: m, path: folder})
	}
	p := m.packages[i]
	p.files = append(p.files, &file{pkg: p, path: name, ast: tree, test: strings.HasSuffix(name, "_test.go")})
	return nil
}

// loadModule reads the module that this test belongs to.
func loadModule(t *testing.T) *module {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatalf("the rules need the source of the module: %v", err)
	}
	name, _, _ := bytes.Cut(bytes.TrimPrefix(mod, []byte("module ")), []byte("\n"))
	m := &module{path: string(name), fset: token.NewFileSet()}
	err = fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return enter(root, name, d.Name())
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		source, err := os.ReadFile(filepath.Join(root, name))
		if err == nil {
			err = m.add(name, source)
		}
		if err != nil {
			t.Errorf("%s cannot be checked: %v", name, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// enter decides whether the walk goes into a folder.
func enter(root, name, last string) error {
	if name == "." {
		return nil
	}
	if _, skip := skipped()[last]; skip || strings.HasPrefix(last, ".") || strings.HasPrefix(last, "_") {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(root, name, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

// ours returns the path within the module of an import, if it is one of ours.
func (m *module) ours(spec *ast.ImportSpec) (string, bool) {
	name := strings.Trim(spec.Path.Value, "\"`")
	if name == m.path {
		return ".", true
	}
	return strings.CutPrefix(name, m.path+"/")
}

// calls hands over every call of pkg.name in the file, by the import's name.
func (f *file) calls(importPath, name string, visit func(*ast.CallExpr)) {
	local := f.importName(importPath)
	if local == "" {
		return
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && isSelector(call.Fun, local, name) {
			visit(call)
		}
		return true
	})
}

// importName is the name under which the file knows a package, "" if it does not.
func (f *file) importName(importPath string) string {
	for _, spec := range f.ast.Imports {
		if strings.Trim(spec.Path.Value, "\"`") != importPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(importPath)
	}
	return ""
}

func isSelector(e ast.Expr, pkg, name string) bool {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	id, ok := sel.X.(*ast.Ident)
	return ok && id.Name == pkg
}
