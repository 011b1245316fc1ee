package postgres

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

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
	// URL names the database: postgres://user:password@host:5432/database, with
	// the parameters of PostgreSQL's own clients behind a ?, such as sslmode,
	// statement_timeout, or search_path: the schema that holds our tables, else
	// "bloodbank". A password may come from PGPASSWORD or ~/.pgpass. Required.
	URL string
	// AllowDown lets Open succeed while the server cannot be reached. Each call
	// then tries again, and brings the schema up to date when it is.
	AllowDown bool
	// Connections is how many there are at the most; 0 means 6, at least 4. Two
	// of them may write at once: one sends while the other commits. A third one
	// keeps the index of words.
	Connections int
	// MaxWaiting is how many calls of Append may wait for their turn; 0 means
	// 64. Further ones are refused with CodeOverloaded.
	MaxWaiting int
	// Timeout is how long to wait for the answer to one statement; 0 means 30 s.
	// A server that is silent for longer is CodeTimeout.
	Timeout time.Duration
	// Logger gets what no caller is told; nil means nobody does.
	Logger *slog.Logger
	// Now is the clock for StoredAt; nil means time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Connections <= 0 {
		o.Connections = 6
	}
	o.Connections = max(o.Connections, writers+2)
	if o.MaxWaiting <= 0 {
		o.MaxWaiting = 64
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// writers is how many calls of Append use a connection at once.
const writers = 2

// closeGrace is how long Close waits for a server to say goodbye.
const closeGrace = 2 * time.Second

// Store is an open database. All methods are safe for concurrent use, and so are
// several stores, processes and machines on one database.
type Store struct {
	opts    Options
	place   string // host:port/database, for messages
	schema  string
	pool    *pgxpool.Pool
	sockets *sockets
	names   *names
	turns   chan struct{} // one token for each writer
	waiting atomic.Int64
	tidier  *tidier

	// preparing holds one token; ready says that the schema is up to date.
	preparing chan struct{}
	ready     atomic.Bool

	gate *sqlfilter.Gate
}

// Open connects, and creates or updates the tables. ctx bounds the opening alone.
//
// CodeInvalid: the URL cannot be read or names no PostgreSQL, one that is too
// old or read-only, another sslmode than it has, or a database that does not
// exist, has another encoding, or was written by a newer version or by another
// program.
// CodeUnauthorized, CodeForbidden: the user or password is wrong, or may not.
// CodeUnavailable, CodeTimeout: the server cannot be reached. Only these are what
// AllowDown allows: a wrong host or port looks like a server that is down.
func Open(ctx context.Context, opts Options) (*Store, error) {
	s, err := newStore(ctx, opts)
	if err != nil {
		return nil, err
	}
	err = s.prepare(ctx)
	if err == nil || s.opts.AllowDown && isDown(err) {
		if err != nil {
			s.opts.Logger.Warn("the store cannot be reached; every use of it tries again", "error", err)
		}
		return s, nil
	}
	s.shut()
	return nil, err
}

// newStore connects to nothing yet. shut must follow, or Close.
func newStore(ctx context.Context, opts Options) (*Store, error) {
	s := &Store{
		opts: opts.withDefaults(), names: newNames(), tidier: newTidier(),
		turns: make(chan struct{}, writers), preparing: make(chan struct{}, 1),
	}
	for range writers {
		s.turns <- struct{}{}
	}
	s.preparing <- struct{}{}
	if err := s.openPool(ctx); err != nil {
		return nil, err
	}
	s.gate = sqlfilter.NewGate(ctx, s.place)
	go s.tidier.run(s.gate.Life, s)
	return s, nil
}

func isDown(err error) bool {
	code := bloodbank.CodeOf(err)
	return code == bloodbank.CodeUnavailable || code == bloodbank.CodeTimeout
}

// Close ends calls under way and closes all connections. With a server that does
// not answer it takes a few seconds. It may be called twice.
func (s *Store) Close() error {
	if s.gate.Shut() {
		s.shut()
	}
	return nil
}

// shut joins everything that was started. A server that says no goodbye is left
// by cutting the sockets.
func (s *Store) shut() {
	s.gate.Shut()
	cut := time.AfterFunc(closeGrace, s.sockets.cut)
	defer cut.Stop()
	s.gate.Wait()
	<-s.tidier.done
	s.pool.Close()
}
