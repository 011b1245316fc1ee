// Package app is the composition root: it turns a configuration into drivers and
// services, and starts and stops them in one visible order. One file per choice.
//
// Everything may be imported here and nothing imports this but the command line.
// It decides which part is used, never what the part does.
package app

import (
	"context"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"time"

	"github.com/33god/bloodbank/config"
	"github.com/33god/bloodbank/dispatch"
	"github.com/33god/bloodbank/gateway"
	"github.com/33god/bloodbank/internal/service"
	"github.com/33god/bloodbank/live"
	"github.com/33god/bloodbank/recorder"
	"github.com/33god/bloodbank/replay"
	"github.com/33god/bloodbank/retention"
	"github.com/33god/bloodbank/schema"
	"github.com/33god/bloodbank/wal"
)

// grace is how long each part may take to stop.
const grace = 10 * time.Second

// App is a server. Start it once.
type App struct {
	cfg     config.Config
	log     *slog.Logger
	version string

	wal        *wal.Log
	deadLog    *wal.Log
	journalLog *wal.Log
	dead       *dispatch.DeadLetters
	retention  *dispatch.Retention
	keeper     *retention.Keeper
	schemas    *schema.Registry
	bus        busDriver
	routes     []*route
	store      storeDriver
	causes     causes
	gateway    *gateway.Gateway
	replayer   *replay.Replayer
	dispatch   *dispatch.Dispatcher
	recorder   *recorder.Recorder
	live       *live.Hub
	voice      voiceDoor
	listener   net.Listener

	group *service.Group
}

// New returns a server for a configuration. Nothing is opened yet.
func New(cfg config.Config, version string, logs io.Writer) *App {
	a := &App{cfg: cfg, version: version, log: newLogger(cfg, logs)}
	// The order is the way of an event, from its end to its beginning: whoever
	// takes events is ready before anybody can hand some over, and stops after.
	a.group = service.NewGroup("bb", grace,
		service.NewResource("schemas", a.openSchemas, nothing),
		service.NewResource("write-ahead log", a.openLog, a.closeLog),
		service.NewResource("bus", a.openBus, a.closeBus),
		service.NewResource("routes", a.openRoutes, a.closeRoutes),
		service.NewResource("store", a.openStore, a.closeStore),
		service.NewResource("live stream", a.startLive, a.stopLive),
		service.NewResource("correlation", a.openCauses, a.closeCauses),
		service.NewResource("retention", a.openKeeper, nothing),
		service.NewLoop("retention sweeps", a.keepStore),
		service.NewLoop("store listener", a.listenToStore),
		service.NewResource("recorder", a.startRecorder, a.stopRecorder),
		service.NewResource("dispatch", a.startDispatch, a.stopDispatch),
		service.NewResource("dispatch of routes", a.startRoutes, a.stopRoutes),
		service.NewResource("gateway", a.openGateway, nothing),
		service.NewResource("replay", a.openReplay, a.closeReplay),
		service.NewResource("voice", a.openVoice, a.closeVoice),
		a.httpService(),
	)
	return a
}

// TuneMemory lets the garbage of a process that serves grow to several times what
// it holds, which is little, before it is collected: events then cost a fifth
// less time. In front of a speech server it holds much, the sessions, and stays with
// Go's own measure. GOGC in the environment wins. It is for the owner of the process.
func TuneMemory(cfg config.Config, environ []string) {
	for _, kv := range environ {
		if strings.HasPrefix(kv, "GOGC=") {
			return
		}
	}
	if cfg.Voice.Upstream == "" {
		debug.SetGCPercent(gcPercent)
	}
}

const gcPercent = 400

// Start opens and starts everything, and returns when the server is ready. On
// failure nothing is left running.
func (a *App) Start(ctx context.Context) error { return a.group.Start(ctx) }

// Stop stops taking events, lets those at hand through as far as the grace
// period allows, and closes everything. What is accepted stays in the log.
func (a *App) Stop(ctx context.Context) error { return a.group.Stop(ctx) }

// Wait returns when ctx ends, or with the reason when a part has died.
func (a *App) Wait(ctx context.Context) error { return a.group.Wait(ctx) }

// URL is where the server listens, once it is started.
func (a *App) URL() string { return "http://" + a.listener.Addr().String() }

func newLogger(cfg config.Config, w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: cfg.Log.Level}))
}

func (a *App) openSchemas(ctx context.Context) (err error) {
	a.schemas, err = OpenSchemas(ctx, a.cfg)
	return err
}

// OpenSchemas opens the registry that the configuration asks for.
func OpenSchemas(ctx context.Context, cfg config.Config) (*schema.Registry, error) {
	return schema.Open(ctx, schema.Options{Dir: cfg.Schema.Dir})
}

func (a *App) startLive(ctx context.Context) error {
	a.live = live.New(live.Options{Store: a.store, Logger: a.log})
	return a.live.Start(ctx)
}

func (a *App) stopLive(ctx context.Context) error { return a.live.Stop(ctx) }

func (a *App) startRecorder(ctx context.Context) error {
	a.recorder = recorder.New(recorder.Options{
		Subscriber: a.bus, Store: a.store, Committed: a.committed, Logger: a.log,
	})
	return a.recorder.Start(ctx)
}

func (a *App) stopRecorder(ctx context.Context) error { return a.recorder.Stop(ctx) }

func (a *App) startDispatch(ctx context.Context) (err error) {
	if a.dispatch, err = a.newDispatcher(dispatch.Options{Publisher: a.bus}); err != nil {
		return err
	}
	return a.dispatch.Start(ctx)
}

// newDispatcher fills in what all dispatchers share.
func (a *App) newDispatcher(o dispatch.Options) (*dispatch.Dispatcher, error) {
	o.Log, o.Dead, o.Retention, o.Logger = a.wal, a.dead, a.retention, a.log
	o.CompressAbove, o.MaxAttempts = int(a.cfg.Bus.CompressAbove), a.cfg.Bus.MaxAttempts
	return dispatch.New(o)
}

func (a *App) stopDispatch(ctx context.Context) error { return a.dispatch.Stop(ctx) }

// progress joins what the two followers know.
type progress struct {
	*dispatch.Dispatcher
	*recorder.Recorder
}

func (a *App) openGateway(ctx context.Context) error {
	a.gateway = gateway.New(gateway.Options{
		Log: a.wal, Schemas: a.schemas, Archive: a.store,
		Progress:   progress{a.dispatch, a.recorder},
		Permissive: a.cfg.Schema.Permissive,
		MaxEvent:   a.maxEvent(),
		Logger:     a.log,
	})
	return a.remember(ctx)
}

// maxEvent is the limit of the configuration, or less where the bus takes less.
func (a *App) maxEvent() int {
	limit := int(a.cfg.Limits.Event)
	if most := a.bus.Features().MaxMessage; most > 0 && most < limit {
		a.log.Warn("the bus takes smaller messages than the configured limit", "limit", limit, "bus", most)
		limit = most
	}
	return limit
}

// nothing closes what holds nothing.
func nothing(context.Context) error { return nil }
