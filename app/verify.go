package app

import (
	"context"
	"errors"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/config"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/postgres"
	"github.com/33god/bloodbank/store/sqlite"
)

// Verified is the outcome of [VerifyStore].
type Verified struct {
	// Store names the store that was read.
	Store string `json:"store"`
	store.LedgerReport
	// HeadText is the head as --expect takes it.
	HeadText string `json:"head_text"`
}

// VerifyStore compares the configured store with its ledger. It needs no server
// and minds none: a SQLite file is only read; a PostgreSQL whose schema is older
// than ours is brought up to date first.
func VerifyStore(ctx context.Context, cfg config.Config, o store.VerifyOptions) (v Verified, err error) {
	var s interface {
		store.Ledger
		Close() error
	}
	switch scheme(cfg.Store.URL) {
	case "", "sqlite":
		v.Store = sqlitePath(cfg)
		s, err = sqlite.Open(ctx, sqlite.Options{Path: v.Store, ReadOnly: true, Logger: newLogger(cfg, discard{})})
	case "postgres", "postgresql":
		var p *postgres.Store
		if p, err = postgres.Open(ctx, postgres.Options{URL: cfg.Store.URL, Logger: newLogger(cfg, discard{})}); err == nil {
			s, v.Store = p, p.Place()
		}
	default:
		err = unknownScheme("store.url (BB_STORE, --store)", cfg.Store.URL)
	}
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	v.LedgerReport, err = store.VerifyLedger(ctx, s, o)
	v.HeadText = v.Head.String()
	return v, err
}

// VerifyOptions are those of store.VerifyLedger: from is the first sequence,
// expect a head as SEQUENCE:LINK or empty, progress may be nil.
func VerifyOptions(from int64, expect string, progress func(sequence int64)) (store.VerifyOptions, error) {
	o := store.VerifyOptions{From: from, Progress: progress}
	if from < 0 {
		return o, bloodbank.Errorf(bloodbank.CodeInvalid, "the first sequence is %d; sequences begin with 1", from)
	}
	if expect == "" {
		return o, nil
	}
	head, err := store.ParseLedgerHead(expect)
	o.Expect = &head
	return o, err
}
