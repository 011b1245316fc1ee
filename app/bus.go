package app

import (
	"context"
	"path/filepath"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/bus/jetstream"
	"github.com/33god/bloodbank/recorder"
)

// busDriver is what every bus gives.
type busDriver interface {
	bus.Publisher
	bus.Subscriber
}

// duplicateWindow covers a message that is sent again because its confirm did not
// come within the driver's 10 s. Each id in it costs memory, and what is older
// dispatch recalls or the store drops.
const duplicateWindow = 12 * time.Second

// openBus chooses the bus.
func (a *App) openBus(ctx context.Context) (err error) {
	switch a.cfg.Bus.URL {
	case "", "embedded":
		a.bus, err = jetstream.Open(ctx, jetstream.Options{
			Dir: filepath.Join(a.cfg.DataDir, busDir), MaxAge: a.cfg.Bus.MaxAge, SyncInterval: a.cfg.Bus.SyncInterval,
			DuplicateWindow: duplicateWindow, KeepFor: []string{recorder.Group}, Logger: a.log,
		})
		return err
	}
	return bloodbank.Errorf(bloodbank.CodeUnsupported,
		"there is no driver for the configured bus yet; this version has: embedded. Unset BB_BUS and RABBIT_URL")
}

func (a *App) closeBus(ctx context.Context) error { return a.bus.Close(ctx) }
