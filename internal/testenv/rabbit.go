//go:build unix

package testenv

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Rabbit is a virtual host of one test, on a RabbitMQ that may be shared.
type Rabbit struct {
	Server
	node  *rabbitNode
	vhost string
}

// rabbitNode is one RabbitMQ with the port mapper that Erlang wants.
type rabbitNode struct {
	*daemon
	epmd     *daemon
	name     string
	cookie   string
	call     string // erl_call, which runs a piece of Erlang inside the server
	distPort int
	asked    atomic.Int64 // virtual hosts made
	calls    atomic.Int64 // of erl_call
}

const (
	rabbitUser     = "bb"
	rabbitPassword = "bb-secret"
)

// RabbitMQ returns a new, empty virtual host on the server that the tests of
// this process share. What it does to the server happens to all of them: a test
// that stops or freezes it must not run in parallel; see [PrivateRabbitMQ].
func RabbitMQ(tb testing.TB) *Rabbit {
	tb.Helper()
	shared.check(tb)
	p := rabbitPrograms(tb)
	n, err := shared.rabbit.get(func() (*rabbitNode, error) { return newRabbitNode(p) })
	if err != nil {
		tb.Fatal(err)
	}
	r := &Rabbit{Server: borrow(tb, n.daemon), node: n}
	r.createVHost()
	return r
}

// PrivateRabbitMQ starts a server for this test alone, which takes seconds.
// Settings are lines of rabbitmq.conf, such as "channel_max = 16".
func PrivateRabbitMQ(tb testing.TB, settings ...string) *Rabbit {
	tb.Helper()
	n, err := newRabbitNode(rabbitPrograms(tb), settings...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := n.close(); err != nil {
			tb.Error(err)
		}
	})
	r := &Rabbit{Server: Server{tb: tb, daemon: n.daemon}, node: n}
	r.createVHost()
	return r
}

// URL is amqp://…/vhost of a user who may do everything in there.
func (r *Rabbit) URL() string { return r.URLAs(r.Addr(), rabbitUser, rabbitPassword) }

// URLAt is URL by way of another address, such as a [Proxy]'s.
func (r *Rabbit) URLAt(addr string) string { return r.URLAs(addr, rabbitUser, rabbitPassword) }

// URLAs is URLAt for another user; see [Rabbit.AddUser].
func (r *Rabbit) URLAs(addr, user, password string) string {
	return "amqp://" + user + ":" + password + "@" + addr + "/" + r.vhost
}

// VHost is the name of the test's virtual host.
func (r *Rabbit) VHost() string { return r.vhost }

// AddUser makes a user, or changes the password and the rights of the one of
// that name. The rights are regular expressions for configure, write and read
// within the test's virtual host. Users belong to the server: give them names
// that no other test uses.
func (r *Rabbit) AddUser(name, password, configure, write, read string) {
	r.tb.Helper()
	r.Eval(fmt.Sprintf(`rabbit_auth_backend_internal:put_user(#{name => %s, password => %s, tags => <<"">>}, <<"test">>), `+
		`rabbit_auth_backend_internal:set_permissions(%s, %s, %s, %s, %s, <<"test">>)`, binary(name), binary(password),
		binary(name), binary(r.vhost), binary(configure), binary(write), binary(read)))
}

// Block makes the server block all connections that publish, as when its memory
// is full; Unblock ends that.
func (r *Rabbit) Block() {
	r.tb.Helper()
	// Asking for the alarms has them told to all connections first, so that what
	// is published from now on is blocked.
	r.Eval(`rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}), rabbit_alarm:get_alarms()`)
}

// Unblock ends [Rabbit.Block].
func (r *Rabbit) Unblock() {
	r.tb.Helper()
	r.Eval(`rabbit_alarm:clear_alarm({resource_limit, memory, node()}), rabbit_alarm:get_alarms()`)
}

// CloseConnections makes the server close every connection to the test's virtual
// host, with a proper connection.close.
func (r *Rabbit) CloseConnections() {
	r.tb.Helper()
	r.Eval(fmt.Sprintf(`[rabbit_networking:close_connection(P, "closed by a test") || [{pid, P}, {vhost, %s}] <- rabbit_networking:connection_info_all([pid, vhost])]`, binary(r.vhost)))
}

// Eval runs Erlang expressions in the server and returns the value of the last.
func (r *Rabbit) Eval(expressions string) string {
	r.tb.Helper()
	out, err := r.node.eval(expressions)
	if err != nil {
		r.tb.Error(err)
	}
	return out
}

func (r *Rabbit) createVHost() {
	r.tb.Helper()
	r.vhost = fmt.Sprintf("test-%d", r.node.asked.Add(1))
	v := binary(r.vhost)
	if _, err := r.node.eval(fmt.Sprintf(`rabbit_vhost:add(%s, <<"test">>), rabbit_auth_backend_internal:set_permissions(%s, %s, <<".*">>, <<".*">>, <<".*">>, <<"test">>)`,
		v, binary(rabbitUser), v)); err != nil {
		r.tb.Fatal(err)
	}
	r.tb.Cleanup(func() {
		r.daemon.thaw()
		if err := r.daemon.start(); err != nil {
			r.tb.Error(err)
			return
		}
		if _, err := r.node.eval(fmt.Sprintf(`rabbit_vhost:delete(%s, <<"test">>)`, v)); err != nil {
			r.tb.Error(err)
		}
	})
}

// binary writes a string as Erlang's binary.
func binary(s string) string { return `<<` + strconv.Quote(s) + `>>` }

func (n *rabbitNode) eval(expressions string) (string, error) {
	// A name of its own for each call: the server ends the connection of one that
	// calls when another of the same name comes, and all have the same by default.
	caller := fmt.Sprintf("call%dx%d", os.Getpid(), n.calls.Add(1))
	cmd := exec.Command(n.call, "-name", n.name, "-h", caller, "-c", n.cookie, "-timeout", "20", "-e")
	cmd.Env = n.env()
	cmd.Stdin = strings.NewReader(expressions + ".\n")
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	value, ok := strings.CutPrefix(text, "{ok, ")
	if err != nil || !ok {
		return "", fmt.Errorf("erlang: %w: %s: %s", errors.Join(err, errNotOK), expressions, tail(out, 600))
	}
	return strings.TrimSuffix(value, "}"), nil
}

var errNotOK = errors.New("the expression failed")

type rabbitPaths struct{ server, epmd, call string }

func rabbitPrograms(tb testing.TB) rabbitPaths {
	tb.Helper()
	need := func(name string, globs ...string) string {
		return shared.installer.need(tb, program{name, "rabbitmq-server", globs})
	}
	return rabbitPaths{
		// Not the wrapper in PATH, which changes the user and the environment.
		server: need("rabbitmq-server", "/usr/lib/rabbitmq/bin/rabbitmq-server"),
		epmd:   need("epmd"),
		call:   need("erl_call", "/usr/lib/erlang/lib/erl_interface-*/bin/erl_call"),
	}
}

func newRabbitNode(p rabbitPaths, settings ...string) (*rabbitNode, error) {
	n := &rabbitNode{call: p.call}
	epmd, err := boot("epmd", func(d *daemon) error {
		d.command = func() *exec.Cmd {
			cmd := exec.Command(p.epmd, "-address", "127.0.0.1", "-port", strconv.Itoa(d.port))
			cmd.Dir = d.dir
			return cmd
		}
		d.ready = func() error { return dial(d.addr()) }
		return nil
	})
	if err != nil {
		return nil, err
	}
	n.epmd = epmd
	d, err := boot("rabbitmq", func(d *daemon) error {
		n.daemon = d
		return n.prepare(p.server, settings)
	})
	if err != nil {
		return nil, errors.Join(err, epmd.close())
	}
	n.daemon = d
	return n, nil
}

func (n *rabbitNode) close() error { return errors.Join(n.daemon.close(), n.epmd.close()) }

func (n *rabbitNode) prepare(server string, settings []string) error {
	d := n.daemon
	port, err := freePort()
	if err != nil {
		return err
	}
	n.distPort = port
	n.name = "bb" + strconv.Itoa(d.port) + "@127.0.0.1"
	n.cookie = "COOKIE" + strconv.Itoa(d.port)
	conf := append([]string{
		"listeners.tcp.local = " + d.addr(),
		"default_user = " + rabbitUser,
		"default_pass = " + rabbitPassword,
		"log.console = true",
		"log.console.level = info",
		"log.file = false",
		"disk_free_limit.absolute = 10MB",
	}, settings...)
	err = errors.Join(
		os.WriteFile(filepath.Join(d.dir, "rabbitmq.conf"), []byte(strings.Join(conf, "\n")+"\n"), 0o644),
		os.WriteFile(filepath.Join(d.dir, "enabled_plugins"), []byte("[].\n"), 0o644),
		os.WriteFile(filepath.Join(d.dir, ".erlang.cookie"), []byte(n.cookie), 0o400))
	d.command = func() *exec.Cmd {
		cmd := exec.Command(server)
		cmd.Dir, cmd.Env = d.dir, n.env()
		return cmd
	}
	d.ready = func() error { return amqpReady(d.addr()) }
	return err
}

// env keeps the node to itself: its own home, cookie, port mapper and loopback.
func (n *rabbitNode) env() []string {
	in := func(name string) string { return filepath.Join(n.dir, name) }
	return []string{
		"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "HOME=" + n.dir,
		"ERL_EPMD_PORT=" + strconv.Itoa(n.epmd.port), "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_NODENAME=" + n.name, "RABBITMQ_USE_LONGNAME=true", "RABBITMQ_DIST_PORT=" + strconv.Itoa(n.distPort),
		"RABBITMQ_CONF_ENV_FILE=" + in("none"), "RABBITMQ_CONFIG_FILE=" + in("rabbitmq.conf"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + in("enabled_plugins"), "RABBITMQ_PID_FILE=" + in("pid"),
		"RABBITMQ_MNESIA_BASE=" + in("data"), "RABBITMQ_LOG_BASE=" + in("log"), "RABBITMQ_LOGS=-",
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1} -setcookie " + n.cookie + " +sbwt none +sbwtdcpu none +sbwtdio none",
		"RUNNING_UNDER_SYSTEMD=true", // the script becomes the server, instead of standing in front of it
	}
}

// amqpReady reports whether the server greets a client: it must answer the
// protocol header with a method frame, connection.start.
func amqpReady(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("AMQP\x00\x00\x09\x01")); err != nil {
		return err
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err != nil {
		return err
	}
	if first[0] != 1 {
		return fmt.Errorf("it answers with frame type %d", first[0])
	}
	return nil
}

func dial(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}
