package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The embedded schemas must be what the generator writes today.
func TestSchemasAreFresh(t *testing.T) {
	t.Parallel()
	files, err := generate("testdata")
	if err != nil {
		t.Fatal(err)
	}
	// 30 types in the catalogue, of which artifact.{action} stands for three.
	if len(files) != 32 {
		t.Errorf("%d schemas, want 32", len(files))
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", "holyfields", name))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s differs from what the generator writes; run go generate ./schema", name)
		}
	}
}

func TestRunWritesTheFiles(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	if err := run("testdata", out); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(out, "*.json"))
	if err != nil || len(names) != 32 {
		t.Errorf("%d files, %v", len(names), err)
	}
	if err := run(out, out); err == nil {
		t.Error("a folder without a catalogue is no error")
	}
}
