package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/url"
	"path/filepath"
	"time"

	driver "modernc.org/sqlite"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlfilter"
)

var (
	_ store.Store         = (*Store)(nil)
	_ store.Counter       = (*Store)(nil)
	_ correlation.Tracker = (*Store)(nil)
)

// Options says how to open a store.
type Options struct {
	// Path is the database file. It and its folder are made when missing,
	// readable by the owner alone. Required.
	Path string
	// ReadOnly opens an existing file without ever writing to it, for a second
	// process. Append and Check then answer with CodeUnsupported.
	ReadOnly bool
	// Readers is how many reads run at once, at least 2; 0 means 4. More wait
	// their turn. One of them is kept for short reads (Get, After, Last), so that
	// searches never hold up who follows the store.
	Readers int
	// MaxWaiting is how many calls of Append may wait for the writer; 0 means
	// 64. Further ones are refused with CodeOverloaded.
	MaxWaiting int
	// BusyTimeout is how long to wait for another process that holds the file;
	// 0 means 5 s.
	BusyTimeout time.Duration
	// Logger gets what no caller is told; nil means nobody does.
	Logger *slog.Logger
	// Now is the clock for StoredAt; nil means time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Readers == 0 {
		o.Readers = 4
	}
	o.Readers = max(o.Readers, 2)
	if o.MaxWaiting <= 0 {
		o.MaxWaiting = 64
	}
	if o.BusyTimeout <= 0 {
		o.BusyTimeout = 5 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Store is an open database file. All methods are safe for concurrent use.
type Store struct {
	opts    Options
	readers *sql.DB
	writer  *writer       // nil when read-only
	folder  *checkpointer // nil when read-only
	// searches holds a token for each long read under way.
	searches chan struct{}

	gate *sqlfilter.Gate
}

// Open opens or creates the store. ctx bounds the opening alone.
//
// CodeInvalid: the path is no file of ours, or of a newer version.
// CodeUnavailable: the file is damaged, locked, or may not be read or written.
// CodeStorageFull: the disk has no room.
func Open(ctx context.Context, opts Options) (*Store, error) {
	opts = opts.withDefaults()
	path, err := preparePath(opts)
	if err != nil {
		return nil, err
	}
	opts.Path = path
	s := &Store{opts: opts, searches: make(chan struct{}, opts.Readers-1)}
	if !opts.ReadOnly {
		if s.writer, err = openWriter(ctx, opts); err != nil {
			return nil, explain(opts.Path, "open the store", err)
		}
	}
	if err := s.openReaders(ctx); err != nil {
		if s.writer != nil {
			err = errors.Join(err, s.writer.close())
		}
		return nil, explain(opts.Path, "open the store", err)
	}
	s.gate = sqlfilter.NewGate(ctx, opts.Path)
	if s.writer != nil {
		s.folder = startCheckpointer(s.gate.Life, opts)
	}
	return s, nil
}

// Close waits for calls under way, ending long reads, and closes the file. It
// may be called twice.
func (s *Store) Close() error {
	if !s.gate.Shut() {
		return nil
	}
	s.gate.Wait()
	// The writer goes last: the last connection to close folds the WAL back
	// into the file, which a reader may not.
	err := s.readers.Close()
	if s.writer != nil {
		s.folder.wait()
		err = errors.Join(err, s.writer.close())
	}
	return explain(s.opts.Path, "close the store", err)
}

func (s *Store) openReaders(ctx context.Context) error {
	connector, err := driver.NewConnector(dsn(s.opts, "ro", "query_only(1)", "cache_size(-8192)"))
	if err != nil {
		return err
	}
	s.readers = sql.OpenDB(connector)
	s.readers.SetMaxOpenConns(s.opts.Readers)
	s.readers.SetMaxIdleConns(s.opts.Readers)
	var id, version int
	row := s.readers.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version)`)
	if err = row.Scan(&id, &version); err == nil {
		err = checkIdentity(s.opts.Path, id, version)
	}
	if err == nil && version < schemaVersion() {
		err = bloodbank.Errorf(bloodbank.CodeInvalid, "%s has schema %d, older than ours (%d); open it once for writing, which brings it up to date", s.opts.Path, version, schemaVersion())
	}
	if err != nil {
		return errors.Join(err, s.readers.Close())
	}
	return nil
}

// dsn names the file for the driver. The path is escaped, so any name works.
func dsn(o Options, mode string, pragmas ...string) string {
	q := url.Values{"mode": {mode}, "_pragma": {"busy_timeout(" + millis(o.BusyTimeout) + ")"}}
	for _, p := range pragmas {
		q.Add("_pragma", p)
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(o.Path), RawQuery: q.Encode()}
	return u.String()
}
