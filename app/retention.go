package app

import (
	"context"

	"github.com/33god/bloodbank/retention"
)

// keepStore lets old events of the store go, as the configuration says.
func (a *App) keepStore(ctx context.Context, ready func()) error {
	ready()
	a.keeper.Run(ctx)
	return nil
}

// openKeeper must come before those who ask for its status.
func (a *App) openKeeper(context.Context) error {
	r := a.cfg.Store.Retention
	o := retention.Options{
		Store: a.store, MaxAge: r.MaxAge, MaxBytes: int64(r.MaxBytes), Floor: a.followed, Logger: a.log,
	}
	for _, rule := range r.Rules {
		o.Rules = append(o.Rules, retention.Rule{Types: rule.Types, MaxAge: rule.MaxAge})
	}
	a.keeper = retention.New(o)
	return nil
}

// followed is the sequence up to which everybody who follows the store has read.
func (a *App) followed() int64 {
	floor := a.live.Status().Position
	if a.causes.links != nil {
		floor = min(floor, a.causes.links.Position())
	}
	return floor
}
