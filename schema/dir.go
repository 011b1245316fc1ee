package schema

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/33god/bloodbank"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxFileSize is the largest schema file that is read.
const maxFileSize = 4 << 20

// readDir reads and compiles all schema files of a folder. Files may refer to
// each other by name or by $id, and to embedded schemas by $id.
func readDir(ctx context.Context, dir string, embedded []*entry) ([]*entry, error) {
	names, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*.json"))
	if err == nil {
		_, err = os.ReadDir(dir)
	}
	if err != nil {
		return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "cannot read the schema folder: %w; give an existing folder with --schema-dir", err)
	}
	slices.Sort(names)
	var files []*entry
	var broken []bloodbank.Detail
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, bloodbank.Errorf(bloodbank.CodeTimeout, "reading the schema folder was stopped: %w", err)
		}
		e, err := readFile(name)
		if err != nil {
			broken = append(broken, brokenFile(filepath.Base(name), err)...)
			continue
		}
		files = append(files, e)
	}
	broken = append(broken, compileAll(files, embedded)...)
	broken = append(broken, duplicates(files)...)
	if len(broken) > 0 {
		e := bloodbank.Errorf(bloodbank.CodeInvalid, "schema files in %s are broken; correct or remove them", dir)
		slices.SortFunc(broken, func(a, b bloodbank.Detail) int { return strings.Compare(a.Pointer, b.Pointer) })
		e.Details = broken
		return nil, e
	}
	return slices.DeleteFunc(files, func(e *entry) bool { return isShared(e.file) }), nil
}

// escapeGlob makes a folder's name safe for filepath.Glob.
func escapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

func readFile(name string) (*entry, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is not a regular file")
	}
	if info.Size() > maxFileSize {
		return nil, fmt.Errorf("has %d bytes; the limit is %d", info.Size(), maxFileSize)
	}
	doc, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	e := &entry{file: filepath.Base(name), origin: OriginFile, doc: doc}
	return e, e.read()
}

func compileAll(files, embedded []*entry) (broken []bloodbank.Detail) {
	loader := newFolder(files, embedded)
	for _, e := range files {
		// Each file gets a compiler of its own, so that one that is broken does
		// not take others with it.
		if err := e.ready(loader); err != nil {
			broken = append(broken, brokenFile(e.file, err)...)
		}
	}
	return broken
}

func duplicates(files []*entry) (broken []bloodbank.Detail) {
	first := map[bloodbank.EventType]string{}
	for _, e := range files {
		if isShared(e.file) {
			continue
		}
		if other, ok := first[e.eventType]; ok {
			broken = append(broken, bloodbank.Detail{
				Pointer: e.file,
				Message: fmt.Sprintf("describes %s, which %s describes already; keep one of them", e.eventType, other),
			})
			continue
		}
		first[e.eventType] = e.file
	}
	return broken
}

// folder answers references from what is at hand. It never goes to the network
// or to the disk.
type folder struct {
	byURL  map[string]any
	byFile map[string]any
	bases  map[string]bool // the folders of all $id: names within them are ours
}

func newFolder(files, embedded []*entry) folder {
	l := folder{byURL: map[string]any{}, byFile: map[string]any{}, bases: map[string]bool{}}
	for _, e := range slices.Concat(embedded, files) {
		if e.read() != nil {
			continue
		}
		l.byURL[location(e.file)] = e.tree
		l.byFile[e.file] = e.tree
		root, _ := e.tree.(map[string]any)
		if id, ok := root["$id"].(string); ok && id != "" {
			id = strings.TrimSuffix(id, "#")
			l.byURL[id] = e.tree
			if i := strings.LastIndexByte(id, '/'); i >= 0 {
				l.bases[id[:i+1]] = true
			}
		}
	}
	return l
}

// Load returns the schema at an address, or an error that says where to put it.
func (l folder) Load(address string) (any, error) {
	if doc, ok := l.byURL[address]; ok {
		return doc, nil
	}
	if u, err := url.Parse(address); err == nil {
		name := path.Base(u.Path)
		if doc, ok := l.byFile[name]; ok && l.bases[strings.TrimSuffix(address, name)] {
			return doc, nil
		}
	}
	return nil, fmt.Errorf("%s is not in the schema folder, and references are never fetched from elsewhere; put that file into the folder", strings.TrimPrefix(address, "file:///"))
}

// brokenFile turns a failure to read or compile a file into plain words. The
// pointer names the file and the place in it.
func brokenFile(file string, err error) []bloodbank.Detail {
	var invalid *jsonschema.SchemaValidationError
	var broken *jsonschema.ValidationError
	if errors.As(err, &invalid) && errors.As(invalid.Err, &broken) {
		var details []bloodbank.Detail
		for _, f := range faultsOf(broken) {
			details = append(details, bloodbank.Detail{Pointer: file + "#" + f.pointer, Message: f.message})
		}
		return details
	}
	var unresolved *jsonschema.LoadURLError
	if errors.As(err, &unresolved) {
		err = unresolved.Err
	}
	var syntax *placeError
	if errors.As(err, &syntax) {
		return []bloodbank.Detail{{Pointer: fmt.Sprintf("%s:%d:%d", file, syntax.line, syntax.column), Message: syntax.cause.Error()}}
	}
	text := strings.ReplaceAll(err.Error(), location(file), file)
	return []bloodbank.Detail{{Pointer: file, Message: strings.ReplaceAll(text, "file:///", "")}}
}

// placeError is a syntax error with its place.
type placeError struct {
	line, column int
	cause        error
}

func (e *placeError) Error() string {
	return fmt.Sprintf("line %d, column %d: %v", e.line, e.column, e.cause)
}

func (e *placeError) Unwrap() error { return e.cause }

func syntaxError(doc []byte, err error) error {
	offset := len(doc)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		offset = min(max(int(syntax.Offset)-1, 0), len(doc))
	}
	before := string(doc[:offset])
	line := strings.Count(before, "\n")
	return &placeError{line: line + 1, column: offset - strings.LastIndexByte(before, '\n'), cause: err}
}

// headingError says which of our own members has the wrong type.
func headingError(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Errorf("%s must not be a JSON %s", wrong.Field, wrong.Value)
	}
	return err
}
