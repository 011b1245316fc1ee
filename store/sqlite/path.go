package sqlite

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/33god/bloodbank"
)

// preparePath makes the folder and an empty file that only the owner may read;
// the driver would make it readable for all.
func preparePath(o Options) (string, error) {
	if o.Path == "" {
		return "", bloodbank.Errorf(bloodbank.CodeInvalid, "the store has no path; name a file such as events.db")
	}
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return "", bloodbank.Errorf(bloodbank.CodeInvalid, "the store path %s cannot be used: %w", o.Path, err)
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return "", bloodbank.Errorf(bloodbank.CodeInvalid, "the store path %s is a folder; name a file in it, such as %s", path, filepath.Join(path, "events.db"))
	case err == nil:
		return path, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", explain(path, "open the store", err)
	case o.ReadOnly:
		return "", bloodbank.Errorf(bloodbank.CodeNotFound, "there is no store at %s yet; open it once for writing", path)
	}
	if err := makeFolder(filepath.Dir(path)); err != nil {
		return "", explain(path, "make the folder of the store", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = f.Close()
	}
	return path, explain(path, "create the store", err)
}

// makeFolder makes a folder and those above it, and sees to it that they outlast
// a power cut. Of the files in it SQLite takes care.
func makeFolder(dir string) error {
	if _, err := os.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	above := filepath.Dir(dir)
	if err := makeFolder(above); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.Open(above)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil // a file system that syncs no folders
	}
	return errors.Join(err, f.Close())
}
