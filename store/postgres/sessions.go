package postgres

import (
	"context"
	"crypto/sha256"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlfilter"
)

var _ store.Sessions = (*Store)(nil)

const (
	sessionColumns = "v.session, n.text, v.source, v.began_at, v.last_at, v.closed_at, v.utterances, v.words, v.audio_ms, v.last_text, v.language"
	selectSessions = "SELECT " + sessionColumns + " FROM voice_sessions v JOIN names n ON n.id = v.session"
)

type sessionRow struct {
	store.Session
	number int64
}

func scanSession(row pgx.Row) (s sessionRow, err error) {
	var closed *time.Time
	var audio int64
	err = row.Scan(&s.number, &s.ID, &s.Source, &s.Opened, &s.Last, &closed, &s.Utterances, &s.Words, &audio, &s.LastText, &s.Language)
	s.ID, s.Opened, s.Last, s.Audio = unescape(s.ID), s.Opened.UTC(), s.Last.UTC(), time.Duration(audio)*time.Millisecond
	if closed != nil {
		s.Closed = closed.UTC()
	}
	return s, err
}

// Sessions implements [store.Sessions].
func (s *Store) Sessions(ctx context.Context, q store.SessionQuery) (page store.SessionPage, err error) {
	if q, err = q.Normalize(); err != nil {
		return page, err
	}
	var where []string
	var args []any
	bind := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	silent := q.Now.Add(-store.SessionSilence)
	switch q.State {
	case store.SessionEnded:
		where = append(where, "v.closed_at IS NOT NULL")
	case store.SessionLive:
		where = append(where, "v.closed_at IS NULL AND v.last_at >= "+bind(silent))
	case store.SessionLost:
		where = append(where, "v.closed_at IS NULL AND v.last_at < "+bind(silent))
	}
	if at, started, err := q.Position(); err != nil {
		return page, err
	} else if started {
		began := bind(time.UnixMicro(at.Micros).UTC())
		where = append(where, "(v.began_at, v.session) < ("+began+", "+bind(at.Sequence)+")")
	}
	// The names are joined to the page alone, in an order that stays the index's.
	query := "SELECT " + sessionColumns + " FROM (SELECT * FROM voice_sessions v" + whereAll(where) +
		" ORDER BY v.began_at DESC, v.session DESC LIMIT " + bind(q.Limit+1) + ") v JOIN names n ON n.id = v.session ORDER BY v.began_at DESC, v.session DESC"
	var rows []sessionRow
	err = s.call(ctx, "list sessions of", func(ctx context.Context, c *pgx.Conn) error {
		found, err := c.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		rows, err = pgx.CollectRows(found, func(row pgx.CollectableRow) (sessionRow, error) { return scanSession(row) })
		return err
	})
	for i := range rows {
		if i == q.Limit {
			last := &rows[i-1]
			page.Next = q.CursorAt(store.Position{Micros: last.Opened.UnixMicro(), Sequence: last.number})
			break
		}
		page.Sessions = append(page.Sessions, rows[i].Session)
	}
	return page, err
}

// Session implements [store.Sessions].
func (s *Store) Session(ctx context.Context, id string) (store.Session, error) {
	var found sessionRow
	digest := sha256.Sum256([]byte(id))
	err := s.call(ctx, "read a session of", func(ctx context.Context, c *pgx.Conn) (err error) {
		found, err = scanSession(c.QueryRow(ctx, selectSessions+" WHERE n.kind = $1 AND n.digest = $2", int16(sqlfilter.KindSession), digest[:]))
		if errors.Is(err, pgx.ErrNoRows) {
			return bloodbank.Errorf(bloodbank.CodeNotFound, "there is no session %s in the store", id)
		}
		return err
	})
	return found.Session, err
}
