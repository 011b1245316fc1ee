package torture

import (
	"strings"
	"testing"
)

// TestWays: the program is led through a proxy, with everything else of the
// address kept, or says why it is not.
func TestWays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		address string
		proxies int
		keeps   string // follows the proxy's address
		note    bool
	}{
		{"", 0, "", false},
		{"embedded", 0, "", false},
		{"sqlite:/tmp/x", 0, "", false},
		{"amqp://u:p@127.0.0.1/v?heartbeat=5", 1, "/v?heartbeat=5", false},
		{"postgres://u:p@127.0.0.1:5433/db?sslmode=require", 1, "/db?sslmode=require", false},
		{"redis://127.0.0.1/2", 1, "/2", false},
		{"nats://127.0.0.1:4222,nats://127.0.0.1:4223", 2, "", false},
		{"amqps://127.0.0.1/", 0, "", true},
		{"rediss://127.0.0.1/", 0, "", true},
		{"postgres://127.0.0.1/db?sslmode=verify-full", 0, "", true},
	} {
		w, note, err := openWay(targetBus, c.address)
		if err != nil {
			t.Fatalf("%s: %v", c.address, err)
		}
		if len(w.proxies) != c.proxies || (note != "") != c.note {
			t.Errorf("%s: %d proxies, %q", c.address, len(w.proxies), note)
		}
		if c.proxies == 0 && w.address != c.address {
			t.Errorf("%s became %s", c.address, w.address)
		}
		for _, p := range w.proxies {
			if !strings.Contains(w.address, p.Addr()) || !strings.HasSuffix(w.address, c.keeps) {
				t.Errorf("%s became %s", c.address, w.address)
			}
		}
		w.close()
	}
}

// TestIsolation: what can be had alone is, under names of this run, and what
// cannot is said.
func TestIsolation(t *testing.T) {
	t.Parallel()
	n, err := newNames()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: "/d", Env: []string{"BB_BUS=theirs", "HOME=/h"}, Bus: "amqp://h/", Store: "postgres://h/db?sslmode=disable", Correlation: "redis://h/"}
	if i := Isolate(o); i.Shared != "" || len(i.Own) != 3 {
		t.Errorf("%+v", i)
	}
	if i := Isolate(Options{Bus: "nats://h"}); i.Shared == "" {
		t.Error("NATS is not kept apart, and nobody says so")
	}
	if i := Isolate(Options{}); i.Shared != "" || len(i.Own) != 0 {
		t.Errorf("%+v", i)
	}
	store := n.storeURL(o.Store)
	if !strings.Contains(store, "search_path="+n.schema()) || !strings.Contains(store, "sslmode=disable") {
		t.Errorf("the store is %s", store)
	}
	env := strings.Join(n.environment(o, []*way{
		{target: targetBus, address: "amqp://p/"}, {target: targetStore, address: store}, {target: targetCorrelation, address: "redis://p/"},
	}), "\n")
	for _, want := range []string{"HOME=/h", "\nBB_BUS=amqp://p/", "\nBB_STORE=" + store, "\nBB_CORRELATION=redis://p/", "\nBB_RABBIT_EXCHANGE=" + n.exchange(), "\nBB_CONFIG=-"} {
		if !strings.Contains(env, want) {
			t.Errorf("the environment lacks %q:\n%s", want, env)
		}
	}
	if left := n.leftovers(o); strings.Contains(left, "@") || !strings.Contains(left, n.queue()) || !strings.Contains(left, n.schema()) {
		t.Error(left)
	}
}
