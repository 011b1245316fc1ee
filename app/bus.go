package app

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/bus/jetstream"
	"github.com/33god/bloodbank/bus/rabbitmq"
	"github.com/33god/bloodbank/config"
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
	switch scheme, _, _ := strings.Cut(a.cfg.Bus.URL, ":"); scheme {
	case "", config.Embedded:
		a.bus, err = jetstream.Open(ctx, jetstream.Options{
			Dir: filepath.Join(a.cfg.DataDir, busDir), MaxAge: a.cfg.Bus.MaxAge, SyncInterval: a.cfg.Bus.SyncInterval,
			DuplicateWindow: duplicateWindow, KeepFor: []string{recorder.Group}, Logger: a.log,
		})
	case "amqp", "amqps":
		a.bus, err = a.openRabbit(ctx)
	default:
		err = bloodbank.Errorf(bloodbank.CodeUnsupported, "there is no driver for the scheme %s of bus.url (BB_BUS, --bus)", scheme)
	}
	return err
}

func (a *App) openRabbit(ctx context.Context) (busDriver, error) {
	o, err := rabbitOptions(a.cfg)
	if err != nil {
		return nil, err
	}
	o.Logger = a.log
	return rabbitmq.Open(ctx, o)
}

// rabbitOptions are those of the main bus: its exchange is the original's, and
// the recorder's queue takes everything.
func rabbitOptions(cfg config.Config) (rabbitmq.Options, error) {
	secure, err := brokerTLS(cfg.Bus)
	return rabbitmq.Options{
		URL: cfg.Bus.URL, Login: rabbitLogin(cfg.Bus.Credentials), TLS: secure,
		Exchange: cfg.Rabbit.Exchange, Groups: []string{recorder.Group}, QueueType: cfg.Bus.QueueType,
	}, err
}

func (a *App) closeBus(ctx context.Context) error { return a.bus.Close(ctx) }
