//go:build unix

package app

import (
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/internal/testenv"
	"github.com/33god/bloodbank/replay"
	"github.com/33god/bloodbank/store"
)

// Two servers on one database: one ledger, which bb verify finds whole.
func TestServersShareALedger(t *testing.T) {
	t.Parallel()
	rabbit, database := testenv.RabbitMQ(t), testenv.Postgres(t)
	cfg := loadEngines(t, map[string]string{"bus.url": rabbit.URL(), "store.url": database.URL()})
	servers := []*App{startEngines(t, cfg), startEngines(t, loadEngines(t, map[string]string{"bus.url": rabbit.URL(), "store.url": database.URL()}))}
	var ids []bloodbank.EventID
	for i := range 60 {
		ids = append(ids, accept(t, servers[i%2]))
	}
	awaitAll(t, servers[0], ids...)
	awaitAll(t, servers[1], ids...)
	v, err := VerifyStore(t.Context(), cfg, store.VerifyOptions{})
	if err != nil || !v.OK || v.Events != 60 || v.Store == "" || v.HeadText != v.Head.String() {
		t.Fatalf("%+v, %v", v, err)
	}
	head, err := VerifyOptions(1, v.HeadText, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v, err = VerifyStore(t.Context(), cfg, head); err != nil || !v.OK {
		t.Fatalf("%+v, %v", v, err)
	}
}

// A replay to the bus is stored; one to the sandbox of RabbitMQ says when nobody
// is bound to it.
func TestReplayOnRealEngines(t *testing.T) {
	t.Parallel()
	rabbit, database := testenv.RabbitMQ(t), testenv.Postgres(t)
	a := startEngines(t, loadEngines(t, map[string]string{"bus.url": rabbit.URL(), "store.url": database.URL()}))
	id := accept(t, a)
	awaitAll(t, a, id)
	if j := finished(t, a, replay.Request{IDs: []bloodbank.EventID{id}}); j.State != replay.Done || j.Sent != 1 {
		t.Fatalf("%+v", j)
	}
	f, err := store.ParseFilter("is:replayed", a.keeper.Status(t.Context()).Swept)
	if err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "the new event to be stored", func() bool {
		page, err := a.store.Query(t.Context(), store.Query{Filter: f})
		return err == nil && len(page.Events) == 1 && page.Events[0].Envelope.ReplayOf == id
	})
	j := finished(t, a, replay.Request{IDs: []bloodbank.EventID{id}, Target: replay.ToSandbox})
	if j.Sent != 0 || j.Failed != 1 || j.Failures[0].Error.Code != bloodbank.CodeNotFound {
		t.Fatalf("%+v", j)
	}
}

// finished runs a replay to its end.
func finished(t *testing.T, a *App, r replay.Request) replay.Job {
	t.Helper()
	j, err := a.replayer.Start(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "the replay to end", func() bool {
		j, err = a.replayer.Job(j.ID)
		return err == nil && j.State != replay.Running
	})
	return j
}
