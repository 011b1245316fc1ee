package sqlfilter

import "io/fs"

// Migrations are the files of a folder "migrations", numbered from 1 without a
// gap. One that was released never changes.
type Migrations struct{ FS fs.ReadDirFS }

// Version is the number of the last one.
func (m Migrations) Version() int {
	files, _ := m.FS.ReadDir("migrations") // an embedded folder is always readable
	return len(files)
}

// Text returns the SQL of the n-th.
func (m Migrations) Text(n int) (string, error) {
	files, err := m.FS.ReadDir("migrations")
	if err != nil {
		return "", err
	}
	text, err := fs.ReadFile(m.FS, "migrations/"+files[n-1].Name())
	return string(text), err
}
