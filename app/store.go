package app

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/gateway"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlite"
)

// storeDriver is what every store gives; it is the correlation tracker as well.
type storeDriver interface {
	store.Store
	correlation.Tracker
	gateway.Archive
	Close() error
}

// openStore chooses the store.
func (a *App) openStore(ctx context.Context) (err error) {
	path, ok := strings.CutPrefix(a.cfg.Store.URL, "sqlite:")
	if !ok && a.cfg.Store.URL != "" {
		return bloodbank.Errorf(bloodbank.CodeUnsupported,
			"there is no driver for the configured store yet; this version has: sqlite:PATH. Unset BB_STORE")
	}
	if path == "" {
		path = filepath.Join(a.cfg.DataDir, "events.db")
	}
	a.store, err = sqlite.Open(ctx, sqlite.Options{Path: path, Logger: a.log})
	return err
}

func (a *App) closeStore(context.Context) error { return a.store.Close() }
