//go:build unix

package testenv

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// RedisServer is a Redis of one test.
type RedisServer struct {
	Server
	// Password is what requirepass says; "" is none.
	Password string
}

// Redis starts a Redis for this test alone. It forgets everything when it is
// stopped, unless args (as on its command line) say otherwise.
func Redis(tb testing.TB, args ...string) *RedisServer {
	tb.Helper()
	path := shared.installer.need(tb, program{name: "redis-server", pkg: "redis-server"})
	r := &RedisServer{}
	for i, a := range args {
		if a == "--requirepass" && i+1 < len(args) {
			r.Password = args[i+1]
		}
	}
	d, err := boot("redis", func(d *daemon) error {
		d.command = func() *exec.Cmd {
			fixed := []string{"--port", strconv.Itoa(d.port), "--bind", "127.0.0.1", "--dir", d.dir, "--save", "", "--appendonly", "no", "--daemonize", "no"}
			return exec.Command(path, append(fixed, args...)...)
		}
		d.ready = func() error { return redisReady(d.addr()) }
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	r.Server = Server{tb: tb, daemon: d}
	tb.Cleanup(func() {
		if err := d.close(); err != nil {
			tb.Error(err)
		}
	})
	return r
}

// URL is redis://…/0, with the password if there is one.
func (r *RedisServer) URL() string {
	user := ""
	if r.Password != "" {
		user = ":" + r.Password + "@"
	}
	return "redis://" + user + r.Addr() + "/0"
}

func redisReady(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "+PONG") && !strings.HasPrefix(line, "-NOAUTH") {
		err = fmt.Errorf("it says %q", line)
	}
	return err
}
