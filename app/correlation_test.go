//go:build unix

package app

import (
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/internal/testenv"
)

// acceptChild hands over an event with a cause and waits until it is stored.
func acceptChild(t *testing.T, a *App, parents ...bloodbank.EventID) bloodbank.EventID {
	t.Helper()
	r := benchRequest()
	r.Envelope.CorrelationIDs = parents
	receipt, err := a.gateway.Accept(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	awaitAll(t, a, receipt.EventID)
	return receipt.EventID
}

func ancestors(t *testing.T, tracker correlation.Tracker, id bloodbank.EventID) (ids []bloodbank.EventID) {
	t.Helper()
	chain, err := tracker.Chain(t.Context(), id, correlation.Ancestors, correlation.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range chain.Nodes {
		ids = append(ids, n.ID)
	}
	return ids
}

// The causes come into Redis; a Redis that is down is not missed, and one that has
// forgotten everything is filled again.
func TestRedisHoldsCauses(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	a := startEngines(t, loadEngines(t, map[string]string{"correlation.url": server.URL()}))
	root := acceptChild(t, a)
	child := acceptChild(t, a, root)
	grandchild := acceptChild(t, a, child)
	level := func() bool { return a.causes.links.Ready() }
	testenv.Eventually(t, "Redis has the links", level)
	if got := ancestors(t, a.causes.copy, grandchild); len(got) != 3 || got[0] != root {
		t.Errorf("in Redis: %v", got)
	}
	server.Stop()
	if got := ancestors(t, a.causes.tracker, grandchild); len(got) != 3 || got[0] != root {
		t.Errorf("without Redis: %v", got)
	}
	late := acceptChild(t, a, grandchild)
	server.Start()
	testenv.Eventually(t, "an empty Redis is filled again", func() bool {
		chain, err := a.causes.copy.Chain(t.Context(), late, correlation.Ancestors, correlation.Limits{})
		return err == nil && len(chain.Nodes) == 4
	})
	if got := ancestors(t, a.causes.tracker, late); len(got) != 4 || got[0] != root {
		t.Errorf("with Redis again: %v", got)
	}
}

// A rebuild writes what Redis lacks, beside a server that knows nothing of it.
func TestRebuildCorrelation(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	a := startEngines(t, loadEngines(t, nil))
	acceptChild(t, a, acceptChild(t, a))
	cfg := a.cfg
	if _, err := RebuildCorrelation(t.Context(), cfg, false, nil); bloodbank.CodeOf(err) != bloodbank.CodeInvalid {
		t.Errorf("without a Redis: %v", err)
	}
	cfg.Correlation.URL = server.URL()
	for _, step := range []struct {
		dry  bool
		want int64
	}{{true, 1}, {false, 1}, {true, 0}, {false, 0}} {
		r, err := RebuildCorrelation(t.Context(), cfg, step.dry, nil)
		if err != nil || r.Written != step.want || r.Links != 1 {
			t.Errorf("dry run %t: %+v, %v; want %d", step.dry, r, err, step.want)
		}
	}
}
