// Command gen writes the JSON Schemas of the original's event types from its
// catalogue of models (testdata/event_catalogue.json) and our words about them
// (testdata/words.json).
//
// It knows nothing of the registry that reads the schemas; it only writes
// files. The schemas of types that are not in the catalogue are written by hand
// and left alone.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	in := flag.String("in", "testdata", "folder with event_catalogue.json and words.json")
	out := flag.String("out", "../holyfields", "folder to write the schemas to")
	flag.Parse()
	if err := run(*in, *out); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(in, out string) error {
	files, err := generate(in)
	if err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(out, name), data, 0o644); err != nil {
			return fmt.Errorf("write a schema: %w", err)
		}
	}
	return nil
}
