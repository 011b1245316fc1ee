//go:build unix

package testenv

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// NATSOptions set up NATS servers.
type NATSOptions struct {
	// Program makes the command of a server with that configuration file. nil is
	// Debian's nats-server, which is old; a test binary that has a newer one in it
	// runs itself.
	Program func(config string) *exec.Cmd
	// Config is added to the configuration; %DIR% in it is the server's folder.
	Config string
	// Files are written into the folder before the start, by name.
	Files map[string]string
	// NoJetStream leaves JetStream off.
	NoJetStream bool
}

// NATSServer is a NATS server of one test.
type NATSServer struct {
	Server
	monitor int
}

// NATS starts a server with JetStream for this test alone. It keeps its files
// over restarts.
func NATS(tb testing.TB, o NATSOptions) *NATSServer {
	tb.Helper()
	s := bootNATS(tb, o, "nats", "")
	s.awaitHealth(tb)
	return s
}

// NATSCluster starts servers that form a cluster. Like every engine that takes a
// good part of the machine, it needs [Engines] to be set.
func NATSCluster(tb testing.TB, size int, o NATSOptions) []*NATSServer {
	tb.Helper()
	if os.Getenv(Engines) == "" {
		tb.Skipf("SKIPPED: a cluster of NATS servers is started only with %s=1", Engines)
	}
	ports := make([]int, size)
	var routes []string
	for i := range ports {
		port, err := freePort()
		if err != nil {
			tb.Fatal(err)
		}
		ports[i] = port
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	all := make([]*NATSServer, size)
	for i := range all {
		all[i] = bootNATS(tb, o, "nats-"+strconv.Itoa(i), fmt.Sprintf("cluster { name: test, listen: \"127.0.0.1:%d\", no_advertise: true, routes: [%s] }\n",
			ports[i], strings.Join(routes, ", ")))
	}
	for _, s := range all {
		s.awaitHealth(tb)
	}
	return all
}

// URL is nats://host:port.
func (s *NATSServer) URL() string { return "nats://" + s.Addr() }

// File is where the server keeps one of [NATSOptions].Files; it may be rewritten
// while the server is stopped.
func (s *NATSServer) File(name string) string { return filepath.Join(s.daemon.dir, name) }

// AwaitHealth waits until the server serves its streams, in a cluster until they
// are level with the others.
func (s *NATSServer) AwaitHealth() {
	s.tb.Helper()
	s.awaitHealth(s.tb)
}

func (s *NATSServer) awaitHealth(tb testing.TB) {
	tb.Helper()
	last := errors.New("it was never asked")
	if !poll(startTimeout, func() bool {
		last = s.health()
		return last == nil
	}) {
		tb.Fatalf("%s: %v; its log:\n%s", s.daemon.name, last, s.Log())
	}
}

func (s *NATSServer) health() error {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/healthz", s.monitor))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("its health is %s", r.Status)
	}
	return nil
}

func bootNATS(tb testing.TB, o NATSOptions, name, cluster string) *NATSServer {
	tb.Helper()
	if o.Program == nil {
		path := shared.installer.need(tb, program{name: "nats-server", pkg: "nats-server"})
		o.Program = func(config string) *exec.Cmd { return exec.Command(path, "-c", config) }
	}
	s := &NATSServer{}
	d, err := boot(name, func(d *daemon) error {
		var err error
		if s.monitor, err = freePort(); err != nil {
			return err
		}
		return prepareNATS(d, o, s.monitor, cluster)
	})
	if err != nil {
		tb.Fatal(err)
	}
	s.Server = Server{tb: tb, daemon: d}
	tb.Cleanup(func() {
		if err := d.close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func prepareNATS(d *daemon, o NATSOptions, monitor int, cluster string) error {
	config := fmt.Sprintf("server_name: %q\nlisten: %q\nhttp: \"127.0.0.1:%d\"\n%s%s\n",
		d.name, d.addr(), monitor, cluster, o.Config)
	if !o.NoJetStream {
		config += fmt.Sprintf("jetstream { store_dir: %q, max_mem: 64MB, max_file: 10GB }\n", filepath.Join(d.dir, "data"))
	}
	file := filepath.Join(d.dir, "nats.conf")
	err := os.WriteFile(file, []byte(strings.ReplaceAll(config, "%DIR%", d.dir)), 0o600)
	for name, text := range o.Files {
		err = errors.Join(err, os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600))
	}
	d.command = func() *exec.Cmd { return o.Program(file) }
	d.ready = func() error { return natsReady(d.addr()) }
	return err
}

// natsReady reports whether the server greets a client.
func natsReady(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "INFO ") {
		err = fmt.Errorf("it says %q", line)
	}
	return err
}
