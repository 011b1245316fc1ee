package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/storetest"
)

func TestStoreSuite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) (store.Store, func() store.Store) {
		path := filepath.Join(t.TempDir(), "deep", "folder with spaces", "events?#%.db")
		s := openTest(t, Options{Path: path})
		return s, func() store.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openTest(t, Options{Path: path})
			return s
		}
	})
}
