package cli_test

import (
	"bufio"
	"context"
	"flag"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/33god/bloodbank/internal/testenv"
	"github.com/33god/bloodbank/torture"
)

var (
	tortureRounds = flag.Int("torture.rounds", 30, "rounds of each test of torture")
	tortureSeed   = flag.Uint64("torture.seed", 0, "seed of the tests of torture; 0 draws one")
)

// tortureOptions are those of a test: the program is this test's own.
func tortureOptions(t *testing.T) torture.Options {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped with -short: kills a server many times")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	seed := *tortureSeed
	if seed == 0 {
		seed = torture.NewSeed()
	}
	t.Logf("seed %d: repeat with -torture.seed", seed)
	return torture.Options{
		Command: []string{self}, Env: append(os.Environ(), asBBEnv+"=1"),
		Dir: filepath.Join(t.TempDir(), "torture"), Seed: seed, Rounds: *tortureRounds,
		Progress: func(p torture.Progress) {
			t.Logf("round %d: %s; %d accepted", p.Round, strings.Join(p.Faults, ", "), p.Accepted)
		},
	}
}

// tortured runs torture and fails unless every promise was kept.
func tortured(t *testing.T, o torture.Options) torture.Report {
	t.Helper()
	report, err := torture.Run(t.Context(), o)
	var text strings.Builder
	if err := report.WriteText(&text); err != nil {
		t.Error(err)
	}
	t.Log("\n" + text.String())
	if err != nil {
		t.Fatal(err)
	}
	if report.Verdict != torture.Clean {
		t.Fatalf("the verdict is %s", report.Verdict)
	}
	if report.Accepted == 0 || report.Stored < report.Accepted {
		t.Errorf("%d accepted, %d stored", report.Accepted, report.Stored)
	}
	return report
}

// TestTortureEmbedded is the promise on the set-up that needs nothing: the server
// is killed, frozen and stopped at random moments, and every event whose accept
// returned is in the store exactly once, unchanged, in order.
func TestTortureEmbedded(t *testing.T) {
	o := tortureOptions(t)
	report := tortured(t, o)
	if report.Rounds != o.Rounds {
		t.Errorf("%d rounds of %d", report.Rounds, o.Rounds)
	}
}

// TestTortureRealEngines does the same with RabbitMQ, PostgreSQL and Redis, whose
// ways are broken and which are killed, frozen and restarted themselves.
func TestTortureRealEngines(t *testing.T) {
	o := tortureOptions(t)
	rabbit, postgres, redis := testenv.PrivateRabbitMQ(t), testenv.PrivatePostgres(t), testenv.Redis(t)
	o.Bus, o.Store, o.Correlation = rabbit.URL(), postgres.URL(), redis.URL()
	o.Faults = slices.Concat(
		deaths("broker", &rabbit.Server), deaths("database", &postgres.Server), deaths("redis", &redis.Server))
	report := tortured(t, o)
	if report.Rounds != o.Rounds {
		t.Errorf("%d rounds of %d", report.Rounds, o.Rounds)
	}
	leftNothing(t, rabbit, postgres, redis)
}

// TestTortureNATS does the same with a NATS server of its own.
func TestTortureNATS(t *testing.T) {
	o := tortureOptions(t)
	o.Rounds = max(5, o.Rounds/3)
	nats := testenv.NATS(t, testenv.NATSOptions{})
	o.Bus, o.Shared, o.Faults = nats.URL(), true, deaths("broker", &nats.Server)
	tortured(t, o)
}

// deaths are what can become of a server.
func deaths(name string, s *testenv.Server) []torture.Fault {
	do := func(f func()) func(context.Context) error {
		return func(context.Context) error {
			f()
			return nil
		}
	}
	return []torture.Fault{
		{Name: name + " killed", Begin: do(s.Kill), End: do(s.Start)},
		{Name: name + " frozen", Begin: do(s.Freeze), End: do(s.Thaw)},
		{Name: name + " restarted", Begin: do(s.Stop), End: do(s.Start)},
	}
}

// leftNothing fails if torture left anything on the servers.
func leftNothing(t *testing.T, rabbit *testenv.Rabbit, postgres *testenv.PostgresServer, redis *testenv.RedisServer) {
	t.Helper()
	vhost := "<<" + strconv.Quote(rabbit.VHost()) + ">>"
	if n := rabbit.Eval("length(rabbit_amqqueue:list(" + vhost + "))"); n != "0" {
		t.Errorf("%s queues are left", n)
	}
	own := `length([X || X <- rabbit_exchange:list(` + vhost + `), string:find(element(4, element(2, X)), <<"torture">>) =/= nomatch])`
	if n := rabbit.Eval(own); n != "0" {
		t.Errorf("%s exchanges are left", n)
	}
	if left := strings.TrimSpace(postgres.Exec(`SELECT nspname FROM pg_namespace WHERE nspname LIKE 'bb\_torture%'`)); left != "" {
		t.Errorf("schema %s is left", left)
	}
	if left := redisKeys(t, redis.Addr()); left != ":0" {
		t.Errorf("Redis answers %q", left)
	}
}

// redisKeys asks Redis how many keys it has.
func redisKeys(t *testing.T, addr string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("DBSIZE\r\n")); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}
