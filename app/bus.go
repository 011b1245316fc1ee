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

// openBus chooses the bus: where every event goes, and where the recorder reads.
func (a *App) openBus(ctx context.Context) (err error) {
	switch scheme(a.cfg.Bus.URL) {
	case "", config.Embedded:
		a.bus, err = jetstream.Open(ctx, jetstream.Options{
			Dir: filepath.Join(a.cfg.DataDir, busDir), MaxAge: a.cfg.Bus.MaxAge, SyncInterval: a.cfg.Bus.SyncInterval,
			DuplicateWindow: duplicateWindow, KeepFor: []string{recorder.Group}, Logger: a.log,
		})
	case "amqp", "amqps":
		o, fault := rabbitOptions(a.cfg, a.cfg.Bus.URL)
		if fault != nil {
			return fault
		}
		o.Exchange, o.Groups, o.Logger = a.cfg.Rabbit.Exchange, []string{recorder.Group}, a.log
		a.bus, err = rabbitmq.Open(ctx, o)
	case "nats", "tls":
		o := natsOptions(a.cfg, a.cfg.Bus.URL)
		o.KeepFor, o.Logger = []string{recorder.Group}, a.log
		a.bus, err = jetstream.Dial(ctx, o)
	default:
		err = unknownScheme("bus.url (BB_BUS, --bus)", a.cfg.Bus.URL)
	}
	return err
}

func (a *App) closeBus(ctx context.Context) error { return a.bus.Close(ctx) }

// rabbitOptions are what all brokers of that kind share.
func rabbitOptions(cfg config.Config, url string) (rabbitmq.Options, error) {
	secure, err := brokerTLS(cfg.Bus)
	return rabbitmq.Options{
		URL: url, Login: rabbitLogin(cfg.Bus.Credentials), TLS: secure, QueueType: cfg.Bus.QueueType,
	}, err
}

func natsOptions(cfg config.Config, url string) jetstream.DialOptions {
	return jetstream.DialOptions{
		URL: url, CredsFile: cfg.Bus.Credentials, CAFile: cfg.Bus.CA, CertFile: cfg.Bus.Cert, KeyFile: cfg.Bus.Key,
		Replicas: cfg.Bus.Replicas, SyncInterval: cfg.Bus.ServerSync, SyncAlways: cfg.Bus.ServerSync == 0,
		MaxAge: cfg.Bus.MaxAge, DuplicateWindow: max(time.Hour, cfg.Bus.ServerSync+time.Minute),
	}
}

func scheme(url string) string {
	s, _, _ := strings.Cut(url, ":")
	return s
}

func unknownScheme(setting, url string) error {
	return bloodbank.Errorf(bloodbank.CodeUnsupported, "there is no driver for the scheme %s of %s", scheme(url), setting)
}
