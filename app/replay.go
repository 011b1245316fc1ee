package app

import (
	"context"

	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/replay"
)

// openReplay makes what sends stored events once more.
func (a *App) openReplay(ctx context.Context) error {
	sandbox, _ := a.bus.(bus.Sandbox)
	a.replayer = replay.New(ctx, replay.Options{
		Store: a.store, Tracker: a.causes.tracker, Gateway: a.gateway, Sandbox: sandbox, Logger: a.log,
	})
	return nil
}

func (a *App) closeReplay(context.Context) error {
	a.replayer.Close()
	return nil
}
