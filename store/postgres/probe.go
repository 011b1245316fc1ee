package postgres

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/33god/bloodbank"
)

// setting is how people know the URL.
const setting = "store.url (BB_STORE, --store)"

// oldest is the first major version with all that the migrations use.
const oldest = 12

// Probe finds out whether [Open] would succeed, and changes nothing: not even
// the tables are made. Its errors are those of Open, with the same codes; what
// is no CodeUnavailable or CodeTimeout does not mend itself.
func Probe(ctx context.Context, opts Options) error {
	s, err := newStore(ctx, opts)
	if err != nil {
		return err
	}
	defer s.shut()
	err = s.examine(ctx)
	if errors.Is(err, errOld) {
		err = s.retried(ctx, s.opts.Timeout, s.mayMigrate)
	}
	return s.explain(ctx, "use", s.diagnose(ctx, err))
}

// checkServer refuses what would break later, and warns of what breaks promises.
func (s *Store) checkServer(ctx context.Context, c *pgx.Conn) error {
	var encoding, fsync, readOnly string
	var version int
	var standby bool
	err := c.QueryRow(ctx, `SELECT current_setting('server_encoding'), current_setting('fsync'), current_setting('transaction_read_only'),
		current_setting('server_version_num')::integer, pg_is_in_recovery()`).Scan(&encoding, &fsync, &readOnly, &version, &standby)
	if err != nil {
		return err
	}
	if err := s.checkVersion(version); err != nil {
		return err
	}
	switch {
	case encoding != "UTF8":
		return bloodbank.Errorf(bloodbank.CodeInvalid, "the database %s has the encoding %s; make one with createdb --encoding=UTF8 --template=template0 and name it in %s", s.place, encoding, setting)
	case standby:
		return bloodbank.Errorf(bloodbank.CodeInvalid, "PostgreSQL at %s is a standby in recovery and takes no writes; name the primary in %s", s.place, setting)
	case readOnly == "on":
		return bloodbank.Errorf(bloodbank.CodeInvalid, "the database %s is read-only (default_transaction_read_only = on); turn that off for it and its user, or name another in %s", s.place, setting)
	}
	if fsync == "off" {
		s.opts.Logger.Warn("the PostgreSQL server has fsync = off: a power cut there loses events that count as stored", "server", s.place)
	}
	return nil
}

// checkVersion takes what server_version_num says.
func (s *Store) checkVersion(version int) error {
	if version >= oldest*10000 {
		return nil
	}
	return bloodbank.Errorf(bloodbank.CodeInvalid, "PostgreSQL at %s is version %d, which is too old; update it to %d or later, or name another in %s", s.place, version/10000, oldest, setting)
}

// checkRights refuses a user who may open the tables but not use them.
func (s *Store) checkRights(ctx context.Context, c *pgx.Conn) error {
	var missing string
	err := c.QueryRow(ctx, `SELECT coalesce(string_agg(w.what || ' ON ' || w.name, ', '), '') FROM (VALUES
			('names', 'SELECT'), ('names', 'INSERT'), ('events', 'SELECT'), ('events', 'INSERT'), ('edges', 'SELECT'), ('edges', 'INSERT'),
			('rejected', 'SELECT'), ('rejected', 'INSERT'), ('ledger', 'SELECT'), ('ledger', 'INSERT'), ('ledger_start', 'SELECT'),
			('checks', 'SELECT'), ('checks', 'UPDATE'),
			('voice_sessions', 'SELECT'), ('voice_sessions', 'INSERT'), ('voice_sessions', 'UPDATE')) AS w (name, what)
		WHERE NOT has_table_privilege(quote_ident($1) || '.' || w.name, w.what)`, s.schema).Scan(&missing)
	if err != nil || missing == "" {
		return err
	}
	return s.forbidden("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA "+pgx.Identifier{s.schema}.Sanitize()+" TO its user", "it lacks "+missing)
}

// mayMigrate reports as an error what would keep the migrations from running.
func (s *Store) mayMigrate(ctx context.Context, c *pgx.Conn) error {
	var create, exists, inside, owner bool
	err := c.QueryRow(ctx, `SELECT has_database_privilege(current_database(), 'CREATE'), n.oid IS NOT NULL,
			coalesce(has_schema_privilege(n.oid, 'CREATE') AND has_schema_privilege(n.oid, 'USAGE'), false),
			NOT EXISTS (SELECT 1 FROM pg_tables t WHERE t.schemaname = $1 AND t.tablename IN ('migrations', 'events') AND NOT pg_has_role(t.tableowner, 'USAGE'))
		FROM (SELECT 1) AS one LEFT JOIN pg_namespace n ON n.nspname = $1`, s.schema).Scan(&create, &exists, &inside, &owner)
	if err == nil {
		err = s.foreign(ctx, c)
	}
	schema := pgx.Identifier{s.schema}.Sanitize()
	switch {
	case err != nil:
		return err
	case !exists && !create:
		return s.forbidden("CREATE SCHEMA "+schema+" AUTHORIZATION its user", "it may not create the schema "+schema)
	case exists && owner && !inside:
		return s.forbidden("GRANT USAGE, CREATE ON SCHEMA "+schema+" TO its user", "it may create no tables in the schema "+schema)
	case !owner:
		return s.forbidden("start this version of bb once with the user who owns the tables", "the tables in the schema "+schema+" need an update, and belong to another user")
	}
	return nil
}

// foreign refuses a schema in which another program has tables of our names.
func (s *Store) foreign(ctx context.Context, c *pgx.Conn) error {
	version, err := s.version(ctx, c)
	if err != nil || version > 0 {
		return err
	}
	var taken bool
	err = c.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename IN ('names', 'events', 'edges', 'rejected', 'checks', 'ledger', 'ledger_start', 'removals'))", s.schema).Scan(&taken)
	if err == nil && taken {
		err = s.anothers()
	}
	return err
}

func (s *Store) anothers() error {
	return bloodbank.Errorf(bloodbank.CodeInvalid, "the schema %s in %s holds tables of another program; choose another with ?search_path=name in %s", s.schema, s.place, setting)
}

func (s *Store) forbidden(fix, why string) error {
	return bloodbank.Errorf(bloodbank.CodeForbidden, "the user of %s lacks a permission on %s: %s; run as its administrator: %s", setting, s.place, why, fix)
}

// diagnose looks at what answers where a connection failed without a word of
// PostgreSQL, and returns a better error if it can: a wrong port or sslmode is
// not mended by waiting.
func (s *Store) diagnose(ctx context.Context, err error) error {
	var fault *pgconn.PgError
	var known *bloodbank.Error
	var connect *pgconn.ConnectError
	if !errors.As(err, &connect) || errors.As(err, &fault) || errors.As(err, &known) || ctx.Err() != nil {
		return err
	}
	c := s.pool.Config().ConnConfig
	answer, asked := s.ask(ctx, c)
	switch {
	case !asked:
		return err
	case !strings.ContainsRune("SNE", rune(answer)):
		return bloodbank.Errorf(bloodbank.CodeInvalid, "what answers at %s is not PostgreSQL; check host and port in %s", net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))), setting)
	case answer == 'N' && c.TLSConfig != nil && !hasPlain(c):
		return bloodbank.Errorf(bloodbank.CodeInvalid, "PostgreSQL at %s offers no TLS, which sslmode demands; set ssl = on there, or another sslmode (prefer, disable) in %s", s.place, setting)
	}
	return err
}

// hasPlain reports whether a connection without TLS is allowed as well.
func hasPlain(c *pgx.ConnConfig) bool {
	for _, f := range c.Fallbacks {
		if f.TLSConfig == nil {
			return true
		}
	}
	return false
}

// ask sends what every PostgreSQL answers with one byte: S or N for TLS or none,
// E for a server that is short of something. asked is false without an answer.
func (s *Store) ask(ctx context.Context, c *pgx.ConnConfig) (answer byte, asked bool) {
	const request = "\x00\x00\x00\x08\x04\xd2\x16\x2f"
	network, addr := pgconn.NetworkAddress(c.Host, c.Port)
	if network != "tcp" {
		return 0, false // only TCP has ports to mistake
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := s.sockets.dial(ctx, network, addr)
	if err != nil {
		return 0, false
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	b := make([]byte, 1)
	if _, err := conn.Write([]byte(request)); err != nil {
		return 0, false
	}
	if _, err := conn.Read(b); err != nil {
		return 0, false
	}
	return b[0], true
}
