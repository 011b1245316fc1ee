package redis

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/internal/testenv"
)

// TestProbe: each wrong setting is named, with what to do, and never the
// password.
func TestProbe(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	locked := testenv.Redis(t, "--requirepass", "hush")
	full := testenv.Redis(t, "--maxmemory", "1")
	evicting := testenv.Redis(t, "--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru")
	host, port, _ := net.SplitHostPort(server.Addr())
	replica := testenv.Redis(t, "--replicaof", host+" "+port)
	admin := plain(t, server.Addr())
	must(admin.Do(t.Context(), "ACL", "SETUSER", "reader", "reset", "on", ">tell-nobody", "~bloodbank:correlation:*", "+@all", "-setex").Result())(t)
	must(admin.Do(t.Context(), "ACL", "SETUSER", "elsewhere", "reset", "on", ">tell-nobody", "~other:*", "+@all").Result())(t)
	must(admin.Do(t.Context(), "ACL", "SETUSER", "enough", "reset", "on", ">tell-nobody", "~bloodbank:correlation:*", "-@all",
		"+get", "+set", "+setex", "+mget", "+del", "+expire", "+sadd", "+srem", "+smembers", "+scard", "+sscan", "+srandmember",
		"+multi", "+exec", "+ping", "+evalsha", "+eval").Result())(t)
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	for name, c := range map[string]struct {
		o    Options
		code bloodbank.Code
		says []string
	}{
		"works":             {Options{Addr: server.Addr()}, "", nil},
		"just enough":       {Options{Addr: server.Addr(), Username: "enough", Password: "tell-nobody"}, "", nil},
		"password":          {Options{Addr: locked.Addr(), Password: "hush"}, "", nil},
		"no password":       {Options{Addr: locked.Addr()}, bloodbank.CodeUnauthorized, []string{"BB_CORRELATION", "REDIS_PASSWORD"}},
		"wrong password":    {Options{Addr: locked.Addr(), Password: "tell-nobody"}, bloodbank.CodeUnauthorized, []string{"REDIS_PASSWORD"}},
		"may not write":     {Options{Addr: server.Addr(), Username: "reader", Password: "tell-nobody"}, bloodbank.CodeForbidden, []string{"setex", "it needs"}},
		"other keys":        {Options{Addr: server.Addr(), Username: "elsewhere", Password: "tell-nobody"}, bloodbank.CodeForbidden, []string{"bloodbank:correlation:*"}},
		"no such database":  {Options{Addr: server.Addr(), DB: 99}, bloodbank.CodeInvalid, []string{"99", "REDIS_DB", "correlation.url"}},
		"nothing there":     {Options{Addr: closedPort(t)}, bloodbank.CodeUnavailable, []string{"nothing listens", "REDIS_HOST", "REDIS_PORT", "BB_CORRELATION"}},
		"a web server":      {Options{Addr: web.Listener.Addr().String()}, bloodbank.CodeUnavailable, []string{"no Redis", "REDIS_PORT"}},
		"silence":           {Options{Addr: silence(t), Timeout: short}, bloodbank.CodeUnavailable, []string{"did not answer within 400ms", "REDIS_HOST"}},
		"not TLS":           {Options{Addr: server.Addr(), TLS: &tls.Config{MinVersion: tls.VersionTLS12}, Timeout: short}, bloodbank.CodeUnavailable, []string{"TLS", "redis://"}},
		"TLS, not trusted":  {Options{Addr: secure.Listener.Addr().String(), TLS: &tls.Config{MinVersion: tls.VersionTLS12}}, bloodbank.CodeUnavailable, []string{"certificate"}},
		"wants TLS":         {Options{Addr: hangsUp(t)}, bloodbank.CodeUnavailable, []string{"rediss://", "BB_CORRELATION"}},
		"a replica":         {Options{Addr: replica.Addr()}, bloodbank.CodeUnavailable, []string{"replica", "primary", "REDIS_HOST"}},
		"full":              {Options{Addr: full.Addr()}, bloodbank.CodeUnavailable, []string{"maxmemory"}},
		"throws links away": {Options{Addr: evicting.Addr()}, bloodbank.CodeUnavailable, []string{"volatile-lru", "noeviction"}},
		"no address":        {Options{Addr: "box"}, bloodbank.CodeInvalid, []string{"host:port"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.o.Timeout == 0 {
				c.o.Timeout = patient
			}
			err := Probe(t.Context(), c.o)
			if bloodbank.CodeOf(err) != c.code {
				t.Fatalf("%v", err)
			}
			if errors.Is(err, ErrEvicts) != (name == "throws links away") {
				t.Errorf("a warning is no fault, and a fault no warning: %v", err)
			}
			for _, text := range c.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("it does not say %q: %v", text, err)
				}
			}
			if err != nil && (strings.Contains(err.Error(), "tell-nobody") || strings.Contains(err.Error(), "hush")) {
				t.Errorf("it tells the password: %v", err)
			}
		})
	}
}

// A probe leaves nothing behind, and gives up when its caller does.
func TestProbeLeavesNothing(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	if err := Probe(t.Context(), Options{Addr: server.Addr()}); err != nil {
		t.Fatal(err)
	}
	if n := must(plain(t, server.Addr()).DBSize(t.Context()).Result())(t); n != 0 {
		t.Errorf("%d keys are left", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Probe(ctx, Options{Addr: server.Addr()}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestExplainUnknownHost(t *testing.T) {
	t.Parallel()
	tracker := &Tracker{o: Options{Addr: "nowhere:6379"}}
	err := tracker.explain(&net.DNSError{Err: "no such host", Name: "nowhere", IsNotFound: true})
	if !strings.Contains(err.Error(), "no host has the name") || !strings.Contains(err.Error(), "REDIS_HOST") {
		t.Errorf("%v", err)
	}
}

func closedPort(t *testing.T) string {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// silence takes connections and says nothing.
func silence(t *testing.T) string {
	t.Helper()
	return serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
}

// hangsUp ends a connection at the first line that is not TLS.
func hangsUp(t *testing.T) string {
	t.Helper()
	return serve(t, func(c net.Conn) { _, _ = bufio.NewReader(c).ReadByte() })
}

func serve(t *testing.T, handle func(c net.Conn)) string {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			handle(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}
