package app

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/config"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/gateway"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/postgres"
	"github.com/33god/bloodbank/store/sqlite"
)

// storeDriver is what every store gives; it is a correlation tracker as well.
type storeDriver interface {
	store.Store
	store.Counter
	correlation.Tracker
	keeping
	// Lookup returns those of ids that are stored.
	Lookup(ctx context.Context, ids []bloodbank.EventID) ([]correlation.Node, error)
	Close() error
}

// keeping is what the gateway and retention need of a store.
type keeping interface {
	gateway.Archive
	store.Remover
}

// listener is a store that tells of what other processes write.
type listener interface {
	Listen(ctx context.Context, wake func()) error
}

// openStore chooses the store.
func (a *App) openStore(ctx context.Context) (err error) {
	switch scheme, _, _ := strings.Cut(a.cfg.Store.URL, ":"); scheme {
	case "", "sqlite":
		a.store, err = sqlite.Open(ctx, sqlite.Options{Path: sqlitePath(a.cfg), Logger: a.log})
	case "postgres", "postgresql":
		a.store, err = postgres.Open(ctx, postgres.Options{URL: a.cfg.Store.URL, AllowDown: true, Logger: a.log})
	default:
		err = bloodbank.Errorf(bloodbank.CodeUnsupported, "there is no driver for the scheme %s of store.url (BB_STORE, --store)", scheme)
	}
	return err
}

// databaseName is the kind of database, without an address.
func databaseName(cfg config.Config) string {
	if s := scheme(cfg.Store.URL); s == "postgres" || s == "postgresql" {
		return "postgresql"
	}
	return "sqlite"
}

// sqlitePath is the database file: the configuration's, or the data folder's own.
func sqlitePath(cfg config.Config) string {
	if path, ok := strings.CutPrefix(cfg.Store.URL, "sqlite:"); ok && path != "" {
		return path
	}
	return filepath.Join(cfg.DataDir, "events.db")
}

// listenToStore wakes who follows the store, where the store can tell of commits by
// other processes. The others are looked at now and then.
func (a *App) listenToStore(ctx context.Context, ready func()) error {
	ready()
	l, ok := a.store.(listener)
	if !ok {
		<-ctx.Done()
		return nil
	}
	return l.Listen(ctx, func() { a.committed(0) })
}

// committed tells who follows the store that it has grown; last is the newest
// sequence, 0 where it is not known.
func (a *App) committed(last int64) {
	a.live.Wake(last)
	a.causes.wake(last)
}

func (a *App) closeStore(context.Context) error { return a.store.Close() }
