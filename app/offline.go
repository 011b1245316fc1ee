package app

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/config"
	"github.com/33god/bloodbank/dispatch"
	"github.com/33god/bloodbank/gateway"
)

// Acceptance says how strictly an event is checked.
type Acceptance struct {
	// Permissive accepts types without a schema.
	Permissive bool
	// SkipValidation does not look at the payload at all.
	SkipValidation bool
}

func (x Acceptance) request(e bloodbank.Envelope) gateway.Request {
	return gateway.Request{Envelope: e, Permissive: x.Permissive, SkipValidation: x.SkipValidation}
}

// PublishOffline accepts events into the log without a server: checked and
// fsynced as always, delivered by the next one. It fails with CodeConflict
// while a server owns the data folder.
func PublishOffline(ctx context.Context, cfg config.Config, x Acceptance, events ...bloodbank.Envelope) (_ []bloodbank.Receipt, err error) {
	a := &App{cfg: cfg, log: newLogger(cfg, discard{})}
	if err := a.openSchemas(ctx); err != nil {
		return nil, err
	}
	if a.wal, err = OpenLog(ctx, cfg, "bb publish", a); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.wal.Close()) }()
	a.gateway = gateway.New(gateway.Options{
		Log: a.wal, Schemas: a.schemas, Permissive: cfg.Schema.Permissive, MaxEvent: int(cfg.Limits.Event), Logger: a.log,
	})
	if err := a.remember(ctx); err != nil {
		return nil, err
	}
	requests := make([]gateway.Request, len(events))
	for i, e := range events {
		requests[i] = x.request(e)
	}
	return a.gateway.AcceptAll(ctx, requests)
}

// Check stamps and checks an event as the gateway would, and writes nothing.
func Check(ctx context.Context, cfg config.Config, x Acceptance, e bloodbank.Envelope) (bloodbank.Envelope, error) {
	schemas, err := OpenSchemas(ctx, cfg)
	if err != nil {
		return e, err
	}
	g := gateway.New(gateway.Options{Schemas: schemas, Permissive: cfg.Schema.Permissive, MaxEvent: int(cfg.Limits.Event)})
	return g.Check(x.request(e))
}

// Rewind sets the dispatcher's position back, so that the next server hands the
// records from the given sequence on to the bus again, with the same ids. It
// returns how many those are. It fails with CodeConflict while a server owns
// the data folder.
func Rewind(ctx context.Context, cfg config.Config, from uint64) (count uint64, err error) {
	l, err := OpenLog(ctx, cfg, "bb wal replay", nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if l.Last() == 0 {
		return 0, bloodbank.Errorf(bloodbank.CodeNotFound, "the log in %s is empty; there is nothing to replay", filepath.Join(cfg.DataDir, walDir))
	}
	if from < l.First() || from > l.Last() {
		return 0, bloodbank.Errorf(bloodbank.CodeInvalid, "the log holds the sequences %d to %d; %d is not among them", l.First(), l.Last(), from)
	}
	cursor, err := l.Cursor(dispatch.CursorName)
	if err != nil {
		return 0, explainLog(cfg, err)
	}
	if cursor.Position() >= from { // else they are to be sent anyway
		if err := cursor.Rewind(ctx, from-1); err != nil {
			return 0, explainLog(cfg, err)
		}
	}
	return l.Last() - from + 1, nil
}

// discard swallows logs.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
