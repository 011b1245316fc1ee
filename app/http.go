package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/httpapi"
	"github.com/33god/bloodbank/internal/service"
	"github.com/33god/bloodbank/internal/telemetry"
	"github.com/33god/bloodbank/webui"
)

// httpService is the HTTP server; when it stops listening by itself it dies.
func (a *App) httpService() service.Service {
	return service.NewLoop("http", func(ctx context.Context, ready func()) error {
		listener, err := net.Listen("tcp", a.cfg.Listen)
		if err != nil {
			return bloodbank.Errorf(bloodbank.CodeConflict,
				"cannot listen on %s: %w. Stop what uses that address, or choose another with --listen (port 0 picks a free one)", a.cfg.Listen, err)
		}
		a.listener = listener
		api := a.newAPI()
		server := api.HTTPServer()
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()
		ready()
		select {
		case err := <-served:
			return bloodbank.Errorf(bloodbank.CodeUnavailable, "the HTTP server ended: %w", err)
		case <-ctx.Done():
		}
		shut, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace/2)
		defer cancel()
		err = server.Shutdown(shut)
		if err != nil {
			err = server.Close() // whoever still hangs on is cut off
		}
		err = errors.Join(err, api.Drain(shut))
		if serveErr := <-served; err == nil && !errors.Is(serveErr, http.ErrServerClosed) {
			err = serveErr
		}
		return err
	})
}

func (a *App) newAPI() *httpapi.Server {
	return httpapi.New(httpapi.Options{
		Gateway: a.gateway, Store: a.store, Tracker: a.causes.tracker, Schemas: a.schemas, Live: a.live,
		DeadLetters: a.dead, Targets: a.retention, Replayer: a.replayer,
		Voice:    a.voiceDoors(),
		Page:     page(),
		Checks:   a.checks,
		Status:   a.status,
		Metrics:  telemetry.Handler(a.metrics),
		Version:  a.version,
		Database: databaseName(a.cfg),
		Logger:   a.log,
		Tokens:   a.cfg.HTTP.Tokens,
		Insecure: a.cfg.HTTP.Insecure,
		Hosts:    a.cfg.HTTP.Hosts,
		Origins:  a.cfg.HTTP.Origins,
		Limits: httpapi.Limits{
			Body: int64(a.cfg.Limits.Body), Events: a.cfg.Limits.Batch, Streams: a.cfg.Limits.Streams,
		},
	})
}

// page is Candybar; a binary that was built without it serves none.
func page() http.Handler {
	if p := webui.New(); p != nil {
		return p
	}
	return nil // not the nil *Page, which would be a handler
}

// checks says of each part whether it can work now.
func (a *App) checks(ctx context.Context) map[string]error {
	return map[string]error{
		"wal":   a.checkLog(),
		"bus":   a.bus.Check(ctx),
		"store": a.store.Check(ctx),
	}
}

func (a *App) checkLog() error {
	if s := a.wal.Status(); s.Closed {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "the log is closed")
	}
	return nil
}

// status is what /status and bb doctor show.
func (a *App) status(ctx context.Context) map[string]any {
	recogniser := map[string]any{"name": a.voice.recogniser.Name(), "ok": true, "desk": a.voice.desk.Status()}
	if err := a.voice.recogniser.Check(ctx); err != nil {
		recogniser["ok"], recogniser["error"] = false, err.Error()
	}
	return map[string]any{
		"wal":         a.wal.Status(),
		"dispatch":    a.dispatch.Status(),
		"routes":      a.routeStatus(),
		"bus":         map[string]any{"name": a.bus.Features().Name, "safe_delay": a.bus.Features().SafeDelay.String()},
		"recorder":    a.recorder.Status(ctx),
		"retention":   a.keeper.Status(ctx),
		"correlation": a.causes.status(ctx),
		"live":        a.live.Status(),
		"voice":       recogniser,
		"data_dir":    a.cfg.DataDir,
		"pid":         os.Getpid(),
	}
}
