//go:build unix

package app

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/config"
	"github.com/33god/bloodbank/internal/testenv"
	"github.com/33god/bloodbank/store"
)

// loadEngines is a configuration on free ports and a folder of its own.
func loadEngines(tb testing.TB, flags map[string]string) config.Config {
	tb.Helper()
	all := map[string]string{"listen": "127.0.0.1:0", "data_dir": tb.TempDir(), "log.level": "error", "voice.workers": "1"}
	for k, v := range flags {
		all[k] = v
	}
	cfg, _, err := config.Load(config.Sources{DotEnvPath: config.None, FilePath: config.None, Flags: all})
	if err != nil {
		tb.Fatal(err)
	}
	return cfg
}

func startEngines(t *testing.T, cfg config.Config) *App {
	t.Helper()
	a := New(cfg, "test", io.Discard)
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return a
}

// accept hands over an event and waits for no more than the log.
func accept(t *testing.T, a *App) bloodbank.EventID {
	t.Helper()
	receipt, err := a.gateway.Accept(t.Context(), benchRequest())
	if err != nil {
		t.Fatal(err)
	}
	return receipt.EventID
}

func awaitAll(t *testing.T, a *App, ids ...bloodbank.EventID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, id := range ids {
		if err := a.recorder.Stored(ctx, id); err != nil {
			t.Fatalf("%s is not stored: %v; dispatch %+v, recorder %+v", id, err, a.dispatch.Status(), a.recorder.Status(ctx))
		}
	}
}

// Events are taken whatever happens to the broker and the database, and come
// through once these are back.
func TestRealEngines(t *testing.T) {
	t.Parallel()
	rabbit, database := testenv.PrivateRabbitMQ(t), testenv.PrivatePostgres(t)
	a := startEngines(t, loadEngines(t, map[string]string{"bus.url": rabbit.URL(), "store.url": database.URL()}))
	r := benchRequest()
	r.Ack = bloodbank.AckStored
	if receipt, err := a.gateway.Accept(t.Context(), r); err != nil || receipt.Ack != bloodbank.AckStored {
		t.Fatalf("%+v, %v", receipt, err)
	}
	var ids []bloodbank.EventID
	for name, step := range map[string]struct{ harm, heal func() }{
		"broker killed":   {rabbit.Kill, rabbit.Start},
		"broker frozen":   {rabbit.Freeze, rabbit.Thaw},
		"database killed": {database.Kill, database.Start},
		"database frozen": {database.Freeze, database.Thaw},
	} {
		t.Log(name)
		step.harm()
		for range 20 {
			ids = append(ids, accept(t, a))
		}
		step.heal()
		awaitAll(t, a, ids...)
	}
}

// A broker and a database that are down at start are no failure.
func TestEnginesDownAtStart(t *testing.T) {
	t.Parallel()
	rabbit, database := testenv.PrivateRabbitMQ(t), testenv.PrivatePostgres(t)
	rabbit.Stop()
	database.Stop()
	a := startEngines(t, loadEngines(t, map[string]string{"bus.url": rabbit.URL(), "store.url": database.URL()}))
	ids := []bloodbank.EventID{accept(t, a), accept(t, a)}
	if checks := a.checks(t.Context()); checks["bus"] == nil || checks["store"] == nil || checks["wal"] != nil {
		t.Errorf("checks: %v", checks)
	}
	rabbit.Start()
	database.Start()
	awaitAll(t, a, ids...)
}

// Two servers with a log each share one broker and one database: every event is
// stored once, and both know of all.
func TestServersShareEngines(t *testing.T) {
	t.Parallel()
	rabbit, database := testenv.RabbitMQ(t), testenv.Postgres(t)
	var servers []*App
	for range 2 {
		servers = append(servers, startEngines(t, loadEngines(t, map[string]string{"bus.url": rabbit.URL(), "store.url": database.URL()})))
	}
	want := make(map[bloodbank.EventID]bool)
	for i := range 100 {
		want[accept(t, servers[i%2])] = true
	}
	for id := range want {
		awaitAll(t, servers[0], id)
		awaitAll(t, servers[1], id)
	}
	page, err := servers[0].store.Query(t.Context(), store.Query{Limit: 200})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Events) != len(want) {
		t.Errorf("%d events are stored, of %d", len(page.Events), len(want))
	}
}

// What is wrong for good is said at start, with the setting and without the
// password.
func TestWrongEnginesAreNamed(t *testing.T) {
	t.Parallel()
	rabbit, database := testenv.RabbitMQ(t), testenv.Postgres(t)
	_, dbPort, _ := strings.Cut(database.Addr(), ":")
	for name, c := range map[string]struct {
		flags map[string]string
		want  string
	}{
		"password of RabbitMQ": {map[string]string{"bus.url": rabbit.URLAs(rabbit.Addr(), "nobody", "geheim")}, "RABBIT_URL"},
		"password of PostgreSQL": {map[string]string{"store.url": fmt.Sprintf("postgres://nobody:geheim@127.0.0.1:%s/postgres", dbPort)},
			"BB_STORE"},
	} {
		a := New(loadEngines(t, c.flags), "test", io.Discard)
		err := a.Start(t.Context())
		if err == nil {
			t.Errorf("%s: it started", name)
			_ = a.Stop(t.Context())
			continue
		}
		if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
