package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	sqlite "modernc.org/sqlite"
)

// conn is a connection of the driver, used without database/sql, whose locks and
// conversions are felt at the rate of inserts. It is not safe for concurrent
// use.
//
// Its context is never cancelled: a transaction is ended by its owner, between
// statements, and never interrupted in the middle of one.
type conn struct {
	ctx   context.Context
	raw   driver.Conn
	stmts map[string]statement
}

type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

func connect(ctx context.Context, dsn string) (*conn, error) {
	connector, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	raw, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{ctx: context.WithoutCancel(ctx), raw: raw, stmts: map[string]statement{}}, nil
}

func (c *conn) close() error {
	var err error
	for _, s := range c.stmts {
		err = errors.Join(err, s.Close())
	}
	return errors.Join(err, c.raw.Close())
}

// run executes SQL that is needed once; it may hold several statements.
func (c *conn) run(sql string) error {
	s, err := c.raw.Prepare(sql)
	if err != nil {
		return err
	}
	_, err = s.(statement).ExecContext(c.ctx, nil)
	return errors.Join(err, s.Close())
}

// prepared returns the statement for sql, kept for the life of the connection.
func (c *conn) prepared(sql string) (statement, error) {
	if s, ok := c.stmts[sql]; ok {
		return s, nil
	}
	p, err := c.raw.Prepare(sql)
	if err != nil {
		return nil, err
	}
	s, ok := p.(statement)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the driver's %T has no contexts", p), p.Close())
	}
	c.stmts[sql] = s
	return s, nil
}

// exec runs a prepared statement and returns how many rows it changed.
func (c *conn) exec(sql string, args []driver.NamedValue) (int64, error) {
	s, err := c.prepared(sql)
	if err != nil {
		return 0, err
	}
	res, err := s.ExecContext(c.ctx, args)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// each hands over the rows of a prepared query; row is reused.
func (c *conn) each(sql string, args []driver.NamedValue, visit func(row []driver.Value) error) (err error) {
	s, err := c.prepared(sql)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(c.ctx, args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := make([]driver.Value, len(rows.Columns()))
	for {
		switch err := rows.Next(row); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := visit(row); err != nil {
			return err
		}
	}
}

// int returns the one number that a query yields, 0 where it yields nothing.
func (c *conn) int(sql string, args ...driver.Value) (n int64, err error) {
	err = c.each(sql, named(args...), func(row []driver.Value) error {
		n, _ = row[0].(int64)
		return nil
	})
	return n, err
}

// transaction runs do and commits, or undoes all of it.
func (c *conn) transaction(do func() error) error {
	if _, err := c.exec("BEGIN IMMEDIATE", nil); err != nil {
		return err
	}
	err := do()
	if err == nil {
		_, err = c.exec("COMMIT", nil)
	}
	if err == nil {
		return nil
	}
	// Some faults (a full disk) have ended the transaction already; then there
	// is nothing to roll back and the error of that says nothing.
	if _, undo := c.exec("ROLLBACK", nil); undo != nil && !c.idle() {
		return errors.Join(err, errBroken, undo)
	}
	return err
}

// errBroken says that a connection is in an unknown state and must be replaced.
var errBroken = errors.New("the transaction could not be rolled back")

// idle reports whether no transaction is open: only then may one begin.
func (c *conn) idle() bool {
	if _, err := c.exec("BEGIN", nil); err != nil {
		return false
	}
	_, err := c.exec("ROLLBACK", nil)
	return err == nil
}

func named(args ...driver.Value) []driver.NamedValue {
	out := make([]driver.NamedValue, len(args))
	for i, v := range args {
		out[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return out
}
