package redis

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/internal/testenv"
)

// short is long enough for a busy machine, and short enough to wait for.
const short = 400 * time.Millisecond

// behind returns a tracker that reaches its Redis through a proxy.
func behind(t *testing.T) (*Tracker, *testenv.Proxy, *testenv.RedisServer) {
	t.Helper()
	server := testenv.Redis(t)
	p := testenv.NewProxy(t, server.Addr())
	return openTest(t, Options{Addr: p.Addr(), Timeout: short}), p, server
}

func link(tb testing.TB) Link {
	ids := newIDs(tb, 2)
	return Link{Child: ids[1], Parents: ids[:1]}
}

func unavailable(t *testing.T, err error) {
	t.Helper()
	if bloodbank.CodeOf(err) != bloodbank.CodeUnavailable {
		t.Fatalf("got %v, want CodeUnavailable", err)
	}
}

// works waits until the tracker has found its Redis again.
func works(t *testing.T, tracker *Tracker) {
	t.Helper()
	testenv.Eventually(t, "Redis is up again", func() bool { return tracker.Status().Up })
	l := link(t)
	if err := tracker.Add(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if got, err := tracker.Children(t.Context(), l.Parents[0]); err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
}

// P3: a stalled Redis costs one timeout, not one for each event.
func TestSilentRedisCostsOneTimeout(t *testing.T) {
	t.Parallel()
	faults := map[string]struct {
		begin, end func(*testenv.Proxy, *testenv.RedisServer)
	}{
		"frozen":     {func(_ *testenv.Proxy, s *testenv.RedisServer) { s.Freeze() }, func(_ *testenv.Proxy, s *testenv.RedisServer) { s.Thaw() }},
		"black hole": {func(p *testenv.Proxy, _ *testenv.RedisServer) { p.BlackHole() }, heal},
		"no answers": {func(p *testenv.Proxy, _ *testenv.RedisServer) { p.Drop(testenv.ToClient) }, heal},
		"stalled":    {func(p *testenv.Proxy, _ *testenv.RedisServer) { p.Stall(testenv.ToServer) }, heal},
		"too slow":   {func(p *testenv.Proxy, _ *testenv.RedisServer) { p.Latency(2 * short) }, heal},
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tracker, p, server := behind(t)
			works(t, tracker)
			f.begin(p, server)
			began := time.Now()
			unavailable(t, tracker.Add(t.Context(), link(t)))
			if took := time.Since(began); took < short/2 {
				t.Fatalf("it gave up after %s", took)
			}
			began = time.Now()
			for range 100 {
				unavailable(t, tracker.Add(t.Context(), link(t)))
				_, err := tracker.Chain(t.Context(), link(t).Child, correlation.Ancestors, correlation.Limits{})
				unavailable(t, err)
			}
			if took := time.Since(began); took > 5*short {
				t.Fatalf("200 calls to a Redis that is known to be silent took %s", took)
			}
			if s := tracker.Status(); s.Up || s.Fault == "" || s.Since.IsZero() {
				t.Fatalf("%+v", s)
			}
			f.end(p, server)
			works(t, tracker)
		})
	}
}

func heal(p *testenv.Proxy, _ *testenv.RedisServer) { p.Heal() }

func TestComesBackByItself(t *testing.T) {
	t.Parallel()
	faults := map[string]func(*testenv.Proxy, *testenv.RedisServer){
		"killed and started": func(_ *testenv.Proxy, s *testenv.RedisServer) { s.Kill(); s.Start() },
		"restarted":          func(_ *testenv.Proxy, s *testenv.RedisServer) { s.Restart() },
		"all reset":          func(p *testenv.Proxy, _ *testenv.RedisServer) { p.ResetAll() },
		"half open":          func(p *testenv.Proxy, _ *testenv.RedisServer) { p.HalfOpen() },
		"cut for a while":    func(p *testenv.Proxy, _ *testenv.RedisServer) { p.Cut(); p.Heal() },
		"reset in an answer": func(p *testenv.Proxy, _ *testenv.RedisServer) { p.ResetAfter(testenv.ToClient, 3) },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tracker, p, server := behind(t)
			works(t, tracker)
			fault(p, server)
			l := link(t)
			testenv.Eventually(t, "links are written again", func() bool { return tracker.Add(t.Context(), l) == nil })
			works(t, tracker)
		})
	}
}

// P4: a Redis that is down at the start was never found.
func TestDownAtStart(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	server.Stop()
	tracker := openTest(t, Options{Addr: server.Addr(), Timeout: short})
	l := link(t)
	unavailable(t, tracker.Add(t.Context(), l))
	unavailable(t, tracker.Check(t.Context()))
	server.Start()
	testenv.Eventually(t, "links are written", func() bool { return tracker.Add(t.Context(), l) == nil })
	if got, err := tracker.Parents(t.Context(), l.Child); err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	if err := tracker.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	works(t, tracker)
}

// Failed, and failed but happened: both are right after trying again.
func TestLostAnswerDoesNoHarm(t *testing.T) {
	t.Parallel()
	tracker, p, server := behind(t)
	direct := openTest(t, Options{Addr: server.Addr()})
	l := link(t)
	p.ResetAfter(testenv.ToClient, len("*1\r\n$-1\r\n")+4) // the look before goes through; the answer to EXEC does not
	unavailable(t, tracker.Add(t.Context(), l))
	got, err := direct.Children(t.Context(), l.Parents[0])
	if err != nil || len(got) != 1 {
		t.Fatalf("it should have happened: %v, %v", got, err)
	}
	p.Heal()
	testenv.Eventually(t, "it is written again", func() bool { return tracker.Add(t.Context(), l) == nil })
	if got, err := tracker.Children(t.Context(), l.Parents[0]); err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
}

func TestCloseDoesNotWaitForRedis(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	server.Stop()
	tracker := openTest(t, Options{Addr: server.Addr(), Timeout: short})
	unavailable(t, tracker.Add(t.Context(), link(t)))
	began := time.Now()
	if err := tracker.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Fatalf("it took %s", took)
	}
	if err := tracker.Close(); err != nil {
		t.Fatal("a second time:", err)
	}
}

// A full Redis refuses to write, but still reads.
func TestFullRedis(t *testing.T) {
	t.Parallel()
	tracker, c, _ := setup(t, Options{})
	l := link(t)
	if err := tracker.Add(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	must(c.ConfigSet(t.Context(), "maxmemory", "1").Result())(t)
	waiting := link(t)
	err := tracker.Add(t.Context(), waiting)
	unavailable(t, err)
	if !strings.Contains(err.Error(), "maxmemory") {
		t.Errorf("it should say what to do: %v", err)
	}
	if got, err := tracker.Parents(t.Context(), l.Child); err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	must(c.ConfigSet(t.Context(), "maxmemory", "0").Result())(t)
	testenv.Eventually(t, "links are written again", func() bool { return tracker.Add(t.Context(), waiting) == nil })
	if got, err := tracker.Parents(t.Context(), waiting.Child); err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
}

// A caller whose time is shorter than ours neither waits nor opens the breaker.
func TestImpatientCaller(t *testing.T) {
	t.Parallel()
	tracker, p, _ := behind(t)
	p.Latency(short / 8)
	ctx, cancel := context.WithTimeout(t.Context(), short/20)
	defer cancel()
	if err := tracker.Add(ctx, link(t)); err == nil || bloodbank.CodeOf(err) == bloodbank.CodeUnavailable {
		t.Fatalf("%v", err)
	}
	if s := tracker.Status(); !s.Up {
		t.Fatalf("%+v", s)
	}
	p.BlackHole()
	ctx, cancel = context.WithTimeout(t.Context(), short/20)
	defer cancel()
	if err := tracker.Add(ctx, link(t)); err == nil {
		t.Fatal("nobody answered")
	}
	testenv.Eventually(t, "the probe finds out what the caller could not", func() bool { return !tracker.Status().Up })
}

func TestRefusedAtStart(t *testing.T) {
	t.Parallel()
	open := testenv.Redis(t)
	locked := testenv.Redis(t, "--requirepass", "hush")
	for name, c := range map[string]struct {
		o    Options
		code bloodbank.Code
		says string
	}{
		"no password":       {Options{Addr: locked.Addr()}, bloodbank.CodeUnauthorized, "REDIS_PASSWORD"},
		"wrong password":    {Options{Addr: locked.Addr(), Password: "tell-nobody"}, bloodbank.CodeUnauthorized, "REDIS_PASSWORD"},
		"wrong user":        {Options{Addr: locked.Addr(), Username: "me", Password: "tell-nobody"}, bloodbank.CodeUnauthorized, "REDIS_PASSWORD"},
		"no such database":  {Options{Addr: open.Addr(), DB: 99}, bloodbank.CodeInvalid, "REDIS_DB"},
		"no port":           {Options{Addr: "localhost"}, bloodbank.CodeInvalid, "host:port"},
		"negative database": {Options{DB: -1}, bloodbank.CodeInvalid, "database"},
		"short life":        {Options{TTL: time.Millisecond}, bloodbank.CodeInvalid, "1s"},
		"negative timeout":  {Options{Timeout: -1}, bloodbank.CodeInvalid, "timeout"},
	} {
		_, err := Open(t.Context(), c.o)
		if bloodbank.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "tell-nobody") {
			t.Errorf("%s: %v", name, err)
		}
	}
	o, err := ParseURL(locked.URL())
	if err != nil {
		t.Fatal(err)
	}
	works(t, openTest(t, o))
}

// T8: what Redis refuses must not look like an event that nobody knows.
func TestMissingRights(t *testing.T) {
	t.Parallel()
	_, c, server := setup(t, Options{})
	for name, rights := range map[string][]any{
		"reads up":   {"-get"},
		"reads down": {"-srandmember"},
		"looks":      {"-mget"},
		"writes":     {"-setex"},
	} {
		t.Run(name, func(t *testing.T) {
			user := strings.ReplaceAll(name, " ", "-")
			must(c.Do(t.Context(), append([]any{"ACL", "SETUSER", user, "reset", "on", ">hush", "~bloodbank:*", "+@all"}, rights...)...).Result())(t)
			tracker := openTest(t, Options{Addr: server.Addr(), Username: user, Password: "hush"})
			l := link(t)
			failed := tracker.Add(t.Context(), l)
			for _, d := range []correlation.Direction{correlation.Ancestors, correlation.Descendants} {
				_, err := tracker.Chain(t.Context(), l.Child, d, correlation.Limits{})
				failed = errors.Join(failed, err)
			}
			if failed == nil || !strings.Contains(failed.Error(), "it needs") || strings.Contains(failed.Error(), "hush") {
				t.Errorf("%v", failed)
			}
			if s := tracker.Status(); !s.Up {
				t.Errorf("a right that is missing is no outage: %+v", s)
			}
		})
	}
	locked := openErr(t, Options{Addr: server.Addr(), Username: "nobody", Password: "hush"})
	if bloodbank.CodeOf(locked) != bloodbank.CodeUnauthorized {
		t.Errorf("%v", locked)
	}
}

func openErr(t *testing.T, o Options) error {
	t.Helper()
	tracker, err := Open(t.Context(), o)
	if err == nil {
		_ = tracker.Close()
	}
	return err
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	o, err := ParseURL("redis://me:p%40ss@box:7000/3")
	if err != nil || o.Addr != "box:7000" || o.Username != "me" || o.Password != "p@ss" || o.DB != 3 || o.TLS != nil {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := ParseURL("rediss://box"); err != nil || o.Addr != "box:6379" || o.TLS == nil {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range []string{"http://box", "redis://me:tell-nobody@box:7000/x", "redis://:tell-nobody@box:port/", "unix:///tmp/redis.sock", ""} {
		if _, err := ParseURL(bad); bloodbank.CodeOf(err) != bloodbank.CodeInvalid || strings.Contains(err.Error(), "tell-nobody") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// P5: the database and the time to live were ignored.
func TestDatabaseAndTTL(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	tracker := openTest(t, Options{Addr: server.Addr(), DB: 5, TTL: 7 * time.Hour})
	l := link(t)
	if err := tracker.Add(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	c := plain(t, server.Addr())
	if n := must(c.DBSize(t.Context()).Result())(t); n != 0 {
		t.Errorf("%d keys in database 0", n)
	}
	other := openTest(t, Options{Addr: server.Addr(), DB: 5})
	for _, key := range []string{forwardKey(l.Child), reverseKey(l.Parents[0])} {
		ttl := must(other.client.Load().TTL(t.Context(), key).Result())(t)
		if ttl > 7*time.Hour || ttl < 7*time.Hour-time.Minute {
			t.Errorf("%s lives for %s", key, ttl)
		}
	}
}
