package postgres

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/33god/bloodbank/store"
)

// TestQueriesGoByIndex looks at the plans, with fresh tables that PostgreSQL
// knows nothing of and with analysed ones: none reads a whole table, rare things
// are gathered, and common ones come in the order of time.
func TestQueriesGoByIndex(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{})
	mustExec(t, s, "ALTER TABLE events SET (autovacuum_enabled = off)")
	events := samples(t, 0, 12_000)
	mustStore(t, s, events)
	for _, state := range []string{"fresh", "analysed"} {
		for filter, index := range map[string]string{
			"":                               "events_time",
			"word* -app:app9":                "events_time",
			"word19":                         "events_words",
			`payload.session_id:"session-7"`: "events_words",
			"session:session-7":              "events_session",
			"type:transcription.voice.kind3": "events_type",
			"type:*.kind3,*.kind4":           "Bitmap Index Scan on events_type",
			"type:transcription.*":           "events_time",
			"is:failed":                      "events_flags",
			"id:" + events[5].Envelope.EventID.String():     "events_id",
			"parent:" + events[5].Envelope.EventID.String(): "events_pkey",
			"since:2026-01-27 until:2026-01-28":             "events_time",
		} {
			f, err := store.ParseFilter(filter, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if plan := explained(t, s, f); !strings.Contains(plan, index) || strings.Contains(plan, "Seq Scan") {
				t.Errorf("%s, %q does not go by %s:\n%s", state, filter, index, plan)
			}
		}
		mustExec(t, s, "ANALYZE events")
	}
}

func explained(t *testing.T, s *Store, f store.Filter) string {
	t.Helper()
	q, err := store.Query{Filter: f}.Normalize()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	err = s.call(t.Context(), "explain", func(ctx context.Context, c *pgx.Conn) error {
		var p *plan
		err := reading(ctx, c, toProbe, func() error {
			p, err = compile(ctx, c, f)
			return err
		})
		if err != nil {
			return err
		}
		query, args := p.sql(q.Order, nil, 101)
		settings := inOrder
		if p.few {
			settings = toGather
		}
		return reading(ctx, c, settings, func() error {
			rows, err := c.Query(ctx, "EXPLAIN "+query, args...)
			if err == nil {
				lines, err = pgx.CollectRows(rows, pgx.RowTo[string])
			}
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}
