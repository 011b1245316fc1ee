//go:build unix

package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
)

// PostgresServer is a database of one test, on a server that may be shared.
type PostgresServer struct {
	Server
	cluster  *cluster
	database string
}

// cluster is one PostgreSQL.
type cluster struct {
	*daemon
	psql  string
	asked atomic.Int64 // databases made
}

const (
	postgresUser     = "bb"
	postgresPassword = "bb-secret"
)

// Postgres returns a new, empty database on the server that the tests of this
// process share. What it does to the server happens to all of them: a test that
// stops or freezes it must not run in parallel; see [PrivatePostgres].
func Postgres(tb testing.TB) *PostgresServer {
	tb.Helper()
	shared.check(tb)
	p := postgresPrograms(tb)
	c, err := shared.postgres.get(func() (*cluster, error) { return newCluster(p) })
	if err != nil {
		tb.Fatal(err)
	}
	s := &PostgresServer{Server: borrow(tb, c.daemon), cluster: c}
	s.createDatabase()
	return s
}

// PrivatePostgres starts a server for this test alone. Settings are lines of
// postgresql.conf, such as "max_connections = 20".
func PrivatePostgres(tb testing.TB, settings ...string) *PostgresServer {
	tb.Helper()
	c, err := newCluster(postgresPrograms(tb), settings...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.close(); err != nil {
			tb.Error(err)
		}
	})
	s := &PostgresServer{Server: Server{tb: tb, daemon: c.daemon}, cluster: c}
	s.createDatabase()
	return s
}

// URL is postgres://…/database with user and password, who owns everything.
func (s *PostgresServer) URL() string { return s.cluster.url(s.database) }

// URLAt is URL by way of another address, such as a [Proxy]'s.
func (s *PostgresServer) URLAt(addr string) string { return s.cluster.urlAt(addr, s.database) }

// Exec runs SQL in the test's database and returns what psql prints.
func (s *PostgresServer) Exec(sql string) string {
	s.tb.Helper()
	out, err := s.cluster.exec(s.database, sql)
	if err != nil {
		s.tb.Error(err)
	}
	return out
}

func (s *PostgresServer) createDatabase() {
	s.tb.Helper()
	s.database = fmt.Sprintf("test_%d", s.cluster.asked.Add(1))
	if _, err := s.cluster.exec("postgres", "CREATE DATABASE "+s.database); err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() {
		s.daemon.thaw()
		if err := s.daemon.start(); err != nil {
			s.tb.Error(err)
			return
		}
		if _, err := s.cluster.exec("postgres", "DROP DATABASE IF EXISTS "+s.database+" WITH (FORCE)"); err != nil {
			s.tb.Error(err)
		}
	})
}

func (c *cluster) url(database string) string { return c.urlAt(c.addr(), database) }

func (c *cluster) urlAt(addr, database string) string {
	return "postgres://" + postgresUser + ":" + postgresPassword + "@" + addr + "/" + database + "?sslmode=disable"
}

func (c *cluster) exec(database, sql string) (string, error) {
	out, err := exec.Command(c.psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", c.url(database), "-c", sql).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("psql: %w: %s", err, tail(out, 400))
	}
	return string(out), nil
}

type postgresPaths struct{ server, initdb, psql string }

func postgresPrograms(tb testing.TB) postgresPaths {
	tb.Helper()
	need := func(name string) string {
		return shared.installer.need(tb, program{name, "postgresql", []string{"/usr/lib/postgresql/*/bin/" + name}})
	}
	return postgresPaths{need("postgres"), need("initdb"), need("psql")}
}

func newCluster(p postgresPaths, settings ...string) (*cluster, error) {
	c := &cluster{psql: p.psql}
	d, err := boot("postgres", func(d *daemon) error {
		c.daemon = d
		owner, err := unprivileged(d.dir)
		if err != nil {
			return err
		}
		data := filepath.Join(d.dir, "data")
		if err := initCluster(p.initdb, d.dir, data, owner); err != nil {
			return err
		}
		if err := appendLines(filepath.Join(data, "postgresql.conf"), settings); err != nil {
			return err
		}
		d.signal = syscall.SIGINT // fast: it does not wait for clients
		d.command = func() *exec.Cmd {
			cmd := exec.Command(p.server, "-D", data, "-h", "127.0.0.1", "-p", strconv.Itoa(d.port), "-k", "")
			cmd.Dir, cmd.Env, cmd.SysProcAttr = d.dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + d.dir, "LC_ALL=C", "TZ=UTC"}, owner
			return cmd
		}
		d.ready = func() error { _, err := c.exec("postgres", "SELECT 1"); return err }
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.daemon = d
	return c, nil
}

func initCluster(initdb, dir, data string, owner *syscall.SysProcAttr) error {
	secret := filepath.Join(dir, "password")
	if err := os.WriteFile(secret, []byte(postgresPassword+"\n"), 0o644); err != nil { //nolint:gosec // for the other user
		return err
	}
	cmd := exec.Command(initdb, "-D", data, "-U", postgresUser, "-A", "scram-sha-256", "--pwfile", secret, "-E", "UTF8", "--locale=C", "--no-sync")
	cmd.Dir, cmd.SysProcAttr = dir, owner
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, tail(out, 400))
	}
	return nil
}

func appendLines(path string, lines []string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	for _, l := range lines {
		if _, err := fmt.Fprintln(f, l); err != nil {
			_ = f.Close()
			return err
		}
	}
	return f.Close()
}

// unprivileged says how to run a program that refuses root, and gives it dir:
// as postgres or nobody if we are root, else as ourselves.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return &syscall.SysProcAttr{}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL refuses root, and there is no other user: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}
