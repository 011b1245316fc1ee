package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store/sqlfilter"
)

// The migrations, see [sqlfilter.Migrations]; those applied are listed in the
// table migrations. Each leaves an older bb that is still running able to append
// and read.
//
//go:embed migrations/*.sql
var migrations embed.FS

func schema() sqlfilter.Migrations { return sqlfilter.Migrations{FS: migrations} }

// schemaVersion is the number of the last migration.
func schemaVersion() int { return schema().Version() }

// migrationLock is the key of the advisory lock under which schemas are changed:
// several processes may start at once.
const migrationLock = 0x42426d67

// migrationTimeout bounds a migration, or the wait for one by another process.
const migrationTimeout = 10 * time.Minute

// prepare brings the schema up to date, unless that was done already.
func (s *Store) prepare(ctx context.Context) error {
	if s.ready.Load() {
		return nil
	}
	select {
	case <-s.preparing:
	case <-ctx.Done():
		return s.explain(ctx, "open the store on", ctx.Err())
	}
	defer func() { s.preparing <- struct{}{} }()
	if s.ready.Load() {
		return nil
	}
	err := s.examine(ctx)
	if errors.Is(err, errOld) {
		err = s.retried(ctx, max(s.opts.Timeout, migrationTimeout), func(ctx context.Context, c *pgx.Conn) error {
			return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error { return s.migrate(ctx, tx.Conn()) })
		})
		if err == nil {
			err = s.examine(ctx)
		}
	}
	if err != nil {
		return s.explain(ctx, "open the store on", s.diagnose(ctx, err))
	}
	s.ready.Store(true)
	return nil
}

// errOld says that migrations are missing.
var errOld = errors.New("the schema is older than this version of bb")

// examine finds out whether the schema can be used as it is. It takes no lock: a
// user without the right to change anything can use what is up to date.
func (s *Store) examine(ctx context.Context) error {
	return s.retried(ctx, s.opts.Timeout, func(ctx context.Context, c *pgx.Conn) error {
		if err := s.checkServer(ctx, c); err != nil {
			return err
		}
		version, err := s.version(ctx, c)
		if err != nil {
			return err
		}
		if version < schemaVersion() {
			return errOld
		}
		var dictionary uint32
		err = c.QueryRow(ctx, "SELECT 'names'::regclass::oid").Scan(&dictionary)
		if err != nil {
			return err
		}
		s.names.reset(dictionary)
		return s.checkRights(ctx, c)
	})
}

// version is the number of the newest migration applied, 0 for none. One newer
// than ours is an error.
func (s *Store) version(ctx context.Context, c *pgx.Conn) (version int, err error) {
	var exists, usage bool
	// Not by to_regclass: within a transaction it may remember the state before
	// another process was waited for.
	err = c.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = 'migrations'),
		coalesce((SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = $1), true)`, s.schema).Scan(&exists, &usage)
	if err != nil || !exists {
		return 0, err
	}
	if !usage {
		schema := pgx.Identifier{s.schema}.Sanitize()
		return 0, s.forbidden("GRANT USAGE ON SCHEMA "+schema+" TO its user", "it may not look into the schema "+schema)
	}
	err = c.QueryRow(ctx, "SELECT coalesce(max(number), 0) FROM migrations").Scan(&version)
	if err == nil && version > schemaVersion() {
		err = bloodbank.Errorf(bloodbank.CodeInvalid,
			"the schema %s in %s was written by a newer version of bb (schema %d; this one knows up to %d); update bb, or choose another with ?search_path=name in %s and replay the bus",
			s.schema, s.place, version, schemaVersion(), setting)
	}
	return version, err
}

// migrate runs in a transaction. It asks for the version again: another process
// may have been faster.
func (s *Store) migrate(ctx context.Context, c *pgx.Conn) error {
	if _, err := c.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(migrationLock)); err != nil {
		return err
	}
	version, err := s.version(ctx, c)
	if err != nil {
		return err
	}
	if version < schemaVersion() {
		if err := s.mayMigrate(ctx, c); err != nil {
			return err
		}
	}
	if version == 0 {
		if err := s.createSchema(ctx, c); err != nil {
			return err
		}
	}
	for n := version + 1; n <= schemaVersion(); n++ {
		text, err := schema().Text(n)
		if err != nil {
			return err
		}
		// The simple protocol takes several statements at once.
		if _, err := c.PgConn().Exec(ctx, text).ReadAll(); err != nil {
			return fmt.Errorf("migration %d: %w", n, err)
		}
		if _, err := c.Exec(ctx, "INSERT INTO migrations (number) VALUES ($1)", n); err != nil {
			return err
		}
	}
	return nil
}

// createSchema leaves a schema alone that an administrator has made for us: to
// make one takes a right on the whole database.
func (s *Store) createSchema(ctx context.Context, c *pgx.Conn) error {
	var exists bool
	err := c.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)", s.schema).Scan(&exists)
	if err != nil {
		return err
	}
	if !exists {
		if _, err := c.Exec(ctx, "CREATE SCHEMA "+pgx.Identifier{s.schema}.Sanitize()); err != nil {
			return err
		}
	}
	_, err = c.Exec(ctx, "CREATE TABLE IF NOT EXISTS migrations (number integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())")
	return err
}
