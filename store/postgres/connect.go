package postgres

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/33god/bloodbank"
)

const (
	defaultSchema  = "bloodbank"
	connectTimeout = 5 * time.Second
	idleTimeout    = time.Minute
)

// openPool reads the URL and makes the pool; it connects to nothing yet. The
// driver's own errors about a URL are not passed on: they hold parts of it, and
// so perhaps the password.
func (s *Store) openPool(ctx context.Context) error {
	refused := bloodbank.Errorf(bloodbank.CodeInvalid,
		"%s cannot be read; write it as postgres://user:password@host:5432/database, with %%XX for special characters of the password", setting)
	u, err := url.Parse(s.opts.URL)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return refused
	}
	cfg, err := pgxpool.ParseConfig(s.opts.URL)
	if err != nil {
		return refusedParameter(u, refused)
	}
	c := cfg.ConnConfig
	s.place = net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))) + "/" + c.Database
	params := c.RuntimeParams
	s.schema = firstSchema(params["search_path"])
	params["search_path"] = pgx.Identifier{s.schema}.Sanitize()
	params["default_transaction_isolation"] = "read committed" // append_batch relies on it
	params["jit"] = "off"                                      // our queries are short; compiling them takes longer
	if params["idle_in_transaction_session_timeout"] == "" {
		// A process that is frozen between two statements must not keep its locks.
		params["idle_in_transaction_session_timeout"] = strconv.FormatInt(idleTimeout.Milliseconds(), 10)
	}
	if params["application_name"] == "" {
		params["application_name"] = "bloodbank"
	}
	if c.ConnectTimeout <= 0 || c.ConnectTimeout > connectTimeout {
		c.ConnectTimeout = connectTimeout
	}
	s.sockets = &sockets{open: map[net.Conn]struct{}{}}
	c.DialFunc = s.sockets.dial
	cfg.MaxConns = int32(min(s.opts.Connections, 1000))
	cfg.PingTimeout = connectTimeout
	cfg.AfterConnect = keepPromises
	s.pool, err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), cfg)
	if err != nil {
		return refused
	}
	return nil
}

// firstSchema reads the first name of a search_path, which may be quoted.
func firstSchema(path string) string {
	path = strings.TrimSpace(path)
	if quoted, ok := strings.CutPrefix(path, `"`); ok {
		const quote = "\x00"
		name, _, _ := strings.Cut(strings.ReplaceAll(quoted, `""`, quote), `"`)
		return strings.ReplaceAll(name, quote, `"`)
	}
	name, _, _ := strings.Cut(path, ",")
	if name = strings.ToLower(strings.TrimSpace(name)); name == "" {
		return defaultSchema
	}
	return name
}

// refusedParameter says which part of a URL is wrong, where that cannot be a
// secret.
func refusedParameter(u *url.URL, otherwise error) error {
	for name := range u.Query() {
		switch name {
		case "sslmode", "sslrootcert", "sslcert", "sslkey":
			return bloodbank.Errorf(bloodbank.CodeInvalid,
				"the TLS settings of %s cannot be used: check sslmode (disable, require, verify-full ...) and that the files of sslrootcert, sslcert and sslkey can be read", setting)
		}
	}
	return otherwise
}

// keepPromises overrides a server or user that is set up to answer before the
// disk has it: what Append has returned must not be lost in a power cut.
func keepPromises(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
	return err
}

// sockets knows all connections, those that only carry a cancellation too, so
// that Close can end them.
type sockets struct {
	mu   sync.Mutex
	open map[net.Conn]struct{}
	over bool
}

// dial implements pgconn.DialFunc.
func (s *sockets) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	k := &socket{Conn: c, owner: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil, errors.Join(net.ErrClosed, c.Close())
	}
	s.open[k] = struct{}{}
	return k, nil
}

func (s *sockets) cut() {
	s.mu.Lock()
	s.over = true
	open := s.open
	s.open = map[net.Conn]struct{}{}
	s.mu.Unlock()
	for c := range open {
		_ = c.Close() // whoever uses it gets the error
	}
}

type socket struct {
	net.Conn
	owner *sockets
}

// Close forgets the connection and closes it.
func (k *socket) Close() error {
	k.owner.mu.Lock()
	delete(k.owner.open, k)
	k.owner.mu.Unlock()
	return k.Conn.Close()
}
