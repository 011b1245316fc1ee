//go:build !unix

package jetstream

import "os"

// lockDir has no lock to offer here; the log's own lock on the data folder is
// what keeps a second process out.
func lockDir(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}
