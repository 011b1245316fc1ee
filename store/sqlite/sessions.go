package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlfilter"
)

var _ store.Sessions = (*Store)(nil)

// sessionName is the place of the session among the names of a row.
const sessionName = 6

// told is what events of one batch tell of a session.
type told struct {
	source, text, language string
	began, last, closed    int64 // Unix microseconds; closed is 0 while it is open
	said                   int64 // when text was said
	utterances, words      int64
	audio                  int64 // milliseconds
}

const upsertSession = `INSERT INTO voice_sessions AS v (session, source, began_us, last_us, closed_us, utterances, words, audio_ms, said_us, last_text, language)
	VALUES (?, ?, ?, ?, nullif(?, 0), ?, ?, ?, ?, ?, ?)
	ON CONFLICT (session) DO UPDATE SET
		source = CASE WHEN v.source = '' THEN excluded.source ELSE v.source END,
		began_us = min(v.began_us, excluded.began_us), last_us = max(v.last_us, excluded.last_us),
		closed_us = coalesce(max(v.closed_us, excluded.closed_us), v.closed_us, excluded.closed_us),
		utterances = v.utterances + excluded.utterances, words = v.words + excluded.words,
		audio_ms = max(v.audio_ms, excluded.audio_ms), said_us = max(v.said_us, excluded.said_us),
		last_text = CASE WHEN excluded.last_text <> '' AND excluded.said_us >= v.said_us THEN excluded.last_text ELSE v.last_text END,
		language = CASE WHEN excluded.language <> '' AND (v.language = '' OR excluded.last_us >= v.last_us) THEN excluded.language ELSE v.language END`

// noteSessions keeps the list of sessions; duplicates are not among the rows that
// have a sequence.
func (w *writer) noteSessions(rows []row) error {
	var sessions map[int64]*told
	var order []int64
	for i := range rows {
		r := &rows[i]
		id := r.Names[sessionName]
		if r.sequence == 0 || id == 0 || !strings.HasPrefix(r.Texts[0], "transcription.") {
			continue
		}
		if sessions == nil {
			sessions = map[int64]*told{}
		}
		if t := tell(&r.Envelope); t != nil {
			if sessions[id] == nil {
				order = append(order, id)
				sessions[id] = t
			} else {
				sessions[id].add(t)
			}
		}
	}
	for _, id := range order {
		t := sessions[id]
		args := []driver.Value{id, t.source, t.began, t.last, t.closed, t.utterances, t.words, t.audio, t.said, t.text, t.language}
		if _, err := w.c.exec(upsertSession, named(args...)); err != nil {
			return err
		}
	}
	return nil
}

// tell reads what an event says of its session, nil for nothing. What its payload
// says in an odd way counts as not said.
func tell(e *bloodbank.Envelope) *told {
	at := e.Timestamp.UnixMicro()
	t := &told{began: at, last: at}
	switch e.EventType {
	case bloodbank.TypeSessionOpened:
	case bloodbank.TypeSessionClosed:
		t.closed = at
	case bloodbank.TypeVoiceCompleted:
		t.utterances = 1
	default:
		return nil
	}
	var p struct {
		Source, Text, Language any
		AudioSeconds           any `json:"audio_seconds"`
		Audio                  any `json:"audio_metadata"`
	}
	if json.Unmarshal(e.Payload, &p) != nil {
		return t
	}
	audio, _ := p.Audio.(map[string]any)
	t.source, _ = p.Source.(string)
	if t.language, _ = audio["language"].(string); t.language == "" {
		t.language, _ = p.Language.(string)
	}
	if text, _ := p.Text.(string); t.utterances == 1 {
		t.words = int64(len(strings.Fields(text)))
		if t.text = letters(strings.TrimSpace(text), store.MaxLastText); t.text != "" {
			t.said = at
		}
	}
	heard, _ := p.AudioSeconds.(float64)
	end, _ := audio["end_seconds"].(float64)
	t.audio = int64(math.Round(1000 * min(max(heard, end, 0), 1e9)))
	return t
}

// letters cuts text to n letters.
func letters(text string, n int) string {
	for i := range text {
		if n == 0 {
			return text[:i]
		}
		n--
	}
	return text
}

// add follows the same rules as upsertSession.
func (t *told) add(o *told) {
	if t.source == "" {
		t.source = o.source
	}
	if o.text != "" && o.said >= t.said {
		t.text = o.text
	}
	if o.language != "" && (t.language == "" || o.last >= t.last) {
		t.language = o.language
	}
	t.began, t.last, t.closed, t.said = min(t.began, o.began), max(t.last, o.last), max(t.closed, o.closed), max(t.said, o.said)
	t.utterances, t.words, t.audio = t.utterances+o.utterances, t.words+o.words, max(t.audio, o.audio)
}

const selectSessions = `SELECT v.session, n.text, v.source, v.began_us, v.last_us, coalesce(v.closed_us, 0), v.utterances, v.words, v.audio_ms, v.last_text, v.language
	FROM voice_sessions v CROSS JOIN names n ON n.id = v.session`

func scanSession(row interface{ Scan(...any) error }) (s store.Session, number int64, err error) {
	var began, last, closed, audio int64
	err = row.Scan(&number, &s.ID, &s.Source, &began, &last, &closed, &s.Utterances, &s.Words, &audio, &s.LastText, &s.Language)
	s.Opened, s.Last, s.Audio = time.UnixMicro(began).UTC(), time.UnixMicro(last).UTC(), time.Duration(audio)*time.Millisecond
	if closed != 0 {
		s.Closed = time.UnixMicro(closed).UTC()
	}
	return s, number, err
}

// Sessions implements [store.Sessions].
func (s *Store) Sessions(ctx context.Context, q store.SessionQuery) (page store.SessionPage, err error) {
	if q, err = q.Normalize(); err != nil {
		return page, err
	}
	where, args := []string{}, []any{}
	silent := q.Now.Add(-store.SessionSilence).UnixMicro()
	switch q.State {
	case store.SessionEnded:
		where = append(where, "v.closed_us IS NOT NULL")
	case store.SessionLive:
		where, args = append(where, "v.closed_us IS NULL AND v.last_us >= ?"), append(args, silent)
	case store.SessionLost:
		where, args = append(where, "v.closed_us IS NULL AND v.last_us < ?"), append(args, silent)
	}
	if at, started, err := q.Position(); err != nil {
		return page, err
	} else if started {
		where, args = append(where, "(v.began_us, v.session) < (?, ?)"), append(args, at.Micros, at.Sequence)
	}
	query := selectSessions + whereAll(where) + " ORDER BY v.began_us DESC, v.session DESC LIMIT ?"
	err = s.snapshot(ctx, "list sessions of", func(ctx context.Context, tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, query, append(args, q.Limit+1)...)
		if err != nil {
			return err
		}
		var end store.Position
		return eachRow(rows, func() error {
			found, number, err := scanSession(rows)
			if len(page.Sessions) == q.Limit {
				page.Next = q.CursorAt(end)
				return err
			}
			page.Sessions = append(page.Sessions, found)
			end = store.Position{Micros: found.Opened.UnixMicro(), Sequence: number}
			return err
		})
	})
	return page, err
}

// Session implements [store.Sessions].
func (s *Store) Session(ctx context.Context, id string) (found store.Session, err error) {
	err = s.snapshot(ctx, "read a session of", func(ctx context.Context, tx *sql.Tx) error {
		row := tx.QueryRowContext(ctx, selectSessions+" WHERE n.kind = ? AND n.text = ?", int64(sqlfilter.KindSession), id)
		found, _, err = scanSession(row)
		if errors.Is(err, sql.ErrNoRows) {
			return bloodbank.Errorf(bloodbank.CodeNotFound, "there is no session %s in the store", id)
		}
		return err
	})
	return found, err
}
