package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every test that docs/guarantees.md names exists in the package it names, and no
// promise goes without one.
func TestGuaranteesNameTestsThatExist(t *testing.T) {
	t.Parallel()
	const root = "../.."
	text, err := os.ReadFile(filepath.Join(root, "docs", "guarantees.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z0-9/]+)\\.(Test[A-Za-z0-9_]+)`")
	tests := map[string]string{} // by package, the text of its tests
	for _, m := range named.FindAllStringSubmatch(string(text), -1) {
		dir, name := m[1], m[2]
		if _, read := tests[dir]; !read {
			tests[dir] = testsOf(t, filepath.Join(root, dir))
		}
		if !strings.Contains(tests[dir], "\nfunc "+name+"(t *testing.T)") {
			t.Errorf("docs/guarantees.md names %s.%s, which does not exist", dir, name)
		}
	}
	promises := 0
	for _, paragraph := range strings.Split(string(text), "\n\n") {
		isPromise := strings.HasPrefix(paragraph, "**")
		if isPromise {
			promises++
		}
		if (isPromise || strings.HasPrefix(paragraph, "| trap")) && !named.MatchString(paragraph) {
			t.Errorf("no test is named for: %s", paragraph)
		}
	}
	if promises < 25 {
		t.Errorf("only %d promises were found; does the pattern still fit the document?", promises)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| trap") && !named.MatchString(line) {
			t.Errorf("no test is named for the trap: %s", line)
		}
	}
}

// testsOf returns all test files of a folder.
func testsOf(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
