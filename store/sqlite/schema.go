package sqlite

import (
	"embed"
	"fmt"
	"strconv"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store/sqlfilter"
)

// applicationID marks the file as ours ("BBev"), see PRAGMA application_id.
const applicationID = 0x42426576

// The pages hold a handful of events each; larger ones need fewer splits.
const pageSize = 8192

// The migrations, see [sqlfilter.Migrations]; the number of the last one applied
// is kept as user_version.
//
//go:embed migrations/*.sql
var migrations embed.FS

func schema() sqlfilter.Migrations { return sqlfilter.Migrations{FS: migrations} }

// schemaVersion is the number of the last migration.
func schemaVersion() int { return schema().Version() }

// checkIdentity refuses a file that is not ours or that a newer program wrote.
func checkIdentity(path string, id, version int) error {
	if id != applicationID {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "%s is a SQLite database of another program; choose another path for the store", path)
	}
	if version > schemaVersion() {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "%s was written by a newer version of bb (schema %d; this one knows up to %d); update bb, or choose another path and replay the bus", path, version, schemaVersion())
	}
	return nil
}

// prepareFile brings the file up to our schema, in one transaction, and leaves
// files of others untouched.
func prepareFile(c *conn, path string) error {
	id, err := c.int("PRAGMA application_id")
	if err != nil {
		return err
	}
	tables, err := c.int("SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return err
	}
	version, err := c.int("PRAGMA user_version")
	if err != nil {
		return err
	}
	fresh := id == 0 && tables == 0 && version == 0
	if !fresh {
		if err := checkIdentity(path, int(id), int(version)); err != nil {
			return err
		}
	}
	if fresh {
		if err := c.run("PRAGMA page_size = " + strconv.Itoa(pageSize)); err != nil {
			return err
		}
	}
	for _, pragma := range writerPragmas() {
		if err := c.run("PRAGMA " + pragma); err != nil {
			return err
		}
	}
	if int(version) == schemaVersion() {
		return nil
	}
	return c.transaction(func() error { return migrate(c, path) })
}

// writerPragmas are set on the writing connection. The [checkpointer] folds the
// write-ahead file back; the writer does so itself at 8,000 pages (64 MiB).
func writerPragmas() []string {
	return []string{
		"journal_mode = WAL",
		"synchronous = FULL",
		"wal_autocheckpoint = 8000",
		"journal_size_limit = 67108864",
		"cache_size = -32768",
		"temp_store = MEMORY",
	}
}

// migrate reads the version again: another process may have been faster.
func migrate(c *conn, path string) error {
	version, err := c.int("PRAGMA user_version")
	if err != nil {
		return err
	}
	if int(version) > schemaVersion() {
		return checkIdentity(path, applicationID, int(version))
	}
	for n := int(version) + 1; n <= schemaVersion(); n++ {
		text, err := schema().Text(n)
		if err == nil {
			err = c.run(text)
		}
		if err != nil {
			return fmt.Errorf("migration %d: %w", n, err)
		}
	}
	if err := c.run("PRAGMA user_version = " + strconv.Itoa(schemaVersion())); err != nil {
		return err
	}
	return c.run("PRAGMA application_id = " + strconv.Itoa(applicationID))
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
