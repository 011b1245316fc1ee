//go:build unix

package testenv

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(Main(m)) }

// say sends one line to a Redis and returns one line of the answer.
func say(tb testing.TB, addr, line string) (string, error) {
	tb.Helper()
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprintf(c, "%s\r\n", line); err != nil {
		return "", err
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(answer), err
}

func TestRedis(t *testing.T) {
	t.Parallel()
	r := Redis(t)
	want := func(line, answer string) {
		t.Helper()
		if got, err := say(t, r.Addr(), line); err != nil || got != answer {
			t.Fatalf("%s: %q, %v; want %q", line, got, err, answer)
		}
	}
	want("SET a 1", "+OK")
	r.Freeze()
	if got, err := say(t, r.Addr(), "PING"); err == nil {
		t.Fatalf("a frozen server says %q", got)
	}
	r.Thaw()
	want("EXISTS a", ":1")
	addr := r.Addr()
	r.Kill()
	if _, err := say(t, addr, "PING"); err == nil {
		t.Fatal("a killed server answers")
	}
	r.Start()
	want("EXISTS a", ":0")
	r.Restart()
	want("PING", "+PONG")
	if r.Addr() != addr || !strings.Contains(r.Log(), "Ready to accept connections") {
		t.Fatalf("it moved from %s to %s, or has no log", addr, r.Addr())
	}
	if r.URL() != "redis://"+addr+"/0" {
		t.Fatal(r.URL())
	}
}

func TestRedisWithSettings(t *testing.T) {
	t.Parallel()
	r := Redis(t, "--requirepass", "hush", "--appendonly", "yes")
	if got, err := say(t, r.Addr(), "PING"); err != nil || !strings.HasPrefix(got, "-NOAUTH") {
		t.Fatalf("%q, %v", got, err)
	}
	if want := "redis://:hush@" + r.Addr() + "/0"; r.URL() != want {
		t.Fatal(r.URL())
	}
}

func TestServerOfATestIsGoneWithIt(t *testing.T) {
	t.Parallel()
	var d *daemon
	var pid int
	t.Run("inner", func(t *testing.T) {
		d = Redis(t).daemon
		pid = d.proc.pid()
	})
	if d == nil {
		t.Skip("SKIPPED: there is no Redis")
	}
	if !gone(pid, time.Second) {
		t.Fatalf("process %d still runs", pid)
	}
	if _, err := os.Stat(d.dir); !os.IsNotExist(err) {
		t.Fatalf("the folder is still there: %v", err)
	}
}

// TestGuard lets the guard see what it sees when the test process dies.
func TestGuard(t *testing.T) {
	t.Parallel()
	d := Redis(t).daemon
	if err := d.proc.guardInput.Close(); err != nil {
		t.Fatal(err)
	}
	if !d.proc.ended(10 * time.Second) {
		t.Fatal("the server outlives the test process")
	}
	if !poll(10*time.Second, func() bool { _, err := os.Stat(d.dir); return os.IsNotExist(err) }) {
		t.Fatal("its folder outlives the test process")
	}
}

func TestPostgres(t *testing.T) {
	a, b := Postgres(t), Postgres(t)
	if a.URL() == b.URL() || a.Addr() != b.Addr() {
		t.Fatalf("%s and %s must be two databases of one server", a.URL(), b.URL())
	}
	a.Exec("CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)")
	if got := strings.TrimSpace(a.Exec("SELECT sum(n) FROM t")); got != "3" {
		t.Fatal(got)
	}
	if got := strings.TrimSpace(b.Exec("SELECT count(*) FROM pg_tables WHERE tablename = 't'")); got != "0" {
		t.Fatal("one sees the tables of the other")
	}
	a.Kill()
	if dial(a.Addr()) == nil {
		t.Fatal("a killed server answers")
	}
	a.Start()
	if got := strings.TrimSpace(a.Exec("SELECT sum(n) FROM t")); got != "3" {
		t.Fatalf("after a kill: %q", got)
	}
	a.Restart()
	a.Exec("SELECT 1")
}

func TestRabbitMQ(t *testing.T) {
	a, b := RabbitMQ(t), RabbitMQ(t)
	if a.VHost() == b.VHost() || a.Addr() != b.Addr() {
		t.Fatalf("%s and %s must be two virtual hosts of one server", a.URL(), b.URL())
	}
	declare(t, a.URL(), false)
	a.Kill()
	if dial(a.Addr()) == nil {
		t.Fatal("a killed server answers")
	}
	a.Start()
	declare(t, a.URL(), true) // the queue is durable
	a.Restart()
	declare(t, a.URL(), true)

	a.AddUser("reader", "one", "", "", ".*")
	reader, err := amqp.Dial(a.URLAs(a.Addr(), "reader", "one"))
	if err != nil {
		t.Fatal(err)
	}
	closed := reader.NotifyClose(make(chan *amqp.Error, 1))
	a.CloseConnections()
	select {
	case e := <-closed:
		if e == nil || e.Code != amqp.ConnectionForced {
			t.Fatalf("%v", e)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the connection is still open")
	}
	a.AddUser("reader", "two", "", "", ".*")
	if c, err := amqp.Dial(a.URLAs(a.Addr(), "reader", "one")); err == nil {
		_ = c.Close()
		t.Fatal("the old password still works")
	}
}

// TestEvalInParallel has many calls at once: none may end another.
func TestEvalInParallel(t *testing.T) {
	r := RabbitMQ(t)
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			if got := r.Eval(fmt.Sprintf("timer:sleep(50), %d * 2", i)); got != strconv.Itoa(2*i) {
				t.Errorf("twice %d is %q", i, got)
			}
		})
	}
	wg.Wait()
}

// TestPortMapperIsPrivate asks the port mapper of the node, not the one that all
// of the machine's Erlang programs share, and sees it go with the node.
func TestPortMapperIsPrivate(t *testing.T) {
	t.Parallel()
	var n *rabbitNode
	var pids []int
	t.Run("inner", func(t *testing.T) {
		n = PrivateRabbitMQ(t).node
		pids = append(tree(n.proc.pid()), tree(n.epmd.proc.pid())...)
		if n.epmd.port == epmdPort {
			t.Fatal("it is the machine's")
		}
		c, err := net.DialTimeout("tcp", n.epmd.addr(), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Write([]byte{0, 1, 'n'}); err != nil { // names, please
			t.Fatal(err)
		}
		names, err := io.ReadAll(c)
		name, _, _ := strings.Cut(n.name, "@")
		if err != nil || !strings.Contains(string(names), "name "+name+" at port") {
			t.Fatalf("%q, %v", names, err)
		}
	})
	if n == nil {
		t.Skip("SKIPPED: there is no RabbitMQ")
	}
	for _, pid := range pids {
		if !gone(pid, time.Second) {
			t.Errorf("process %d still runs", pid)
		}
	}
}

func TestRabbitMQBlocked(t *testing.T) {
	r := RabbitMQ(t)
	c, err := amqp.Dial(r.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	blocked := c.NotifyBlocked(make(chan amqp.Blocking, 2))
	ch, err := c.Channel()
	if err != nil {
		t.Fatal(err)
	}
	r.Block()
	if err := ch.PublishWithContext(t.Context(), "", "nobody", false, false, amqp.Publishing{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		select {
		case b := <-blocked:
			if b.Active != want {
				t.Fatalf("blocked is %t, want %t", b.Active, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no notice that blocked is %t", want)
		}
		r.Unblock()
	}
}

// declare declares a durable quorum queue, or finds it.
func declare(t *testing.T, url string, passive bool) {
	t.Helper()
	c, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ch, err := c.Channel()
	if err != nil {
		t.Fatal(err)
	}
	declare := ch.QueueDeclare
	if passive {
		declare = ch.QueueDeclarePassive
	}
	if _, err := declare("q", true, false, false, false, amqp.Table{"x-queue-type": "quorum"}); err != nil {
		t.Fatal(err)
	}
}

func TestForbidServices(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/policy-rc.d"
	allow, err := forbidServices(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), "exit 101") {
		t.Fatalf("%q, %v", text, err)
	}
	again, err := forbidServices(path) // as where the machine has one of its own
	if err != nil {
		t.Fatal(err)
	}
	again()
	if _, err := os.Stat(path); err != nil {
		t.Fatal("the policy of another was taken away")
	}
	allow()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Fatal("services stay forbidden")
	}
}

func TestWhenServersAreStarted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		engines string
		short   bool
		started bool
	}{
		{"", false, true},
		{"", true, false},
		{"0", false, false},
		{"0", true, false},
		{"1", false, true},
		{"1", true, true},
	} {
		if why := off(c.engines, c.short); (why == "") != c.started {
			t.Errorf("%s=%q, -short %t: %q", Engines, c.engines, c.short, why)
		}
	}
}

func TestMissingProgramSkips(t *testing.T) {
	t.Parallel()
	skipped := false
	t.Run("inner", func(t *testing.T) {
		defer func() { skipped = t.Skipped() }()
		i := &installer{failed: map[string]error{"no-such-package": io.ErrUnexpectedEOF}}
		i.need(t, program{name: "no-such-program", pkg: "no-such-package"})
	})
	if !skipped {
		t.Fatal("the test went on without its program")
	}
}
