package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"strconv"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

var _ store.Outliner = (*Store)(nil)

func outlineSQL() string {
	return `WITH w (id) AS MATERIALIZED (SELECT DISTINCT unhex(value) FROM json_each(?))
		SELECT w.id, (SELECT count(*) FROM (SELECT 1 FROM edges g WHERE g.parent = w.id LIMIT ` + strconv.Itoa(store.MaxChildren) + `)),
			coalesce(a.text, k.text, ''), coalesce(s.text, ''), CASE WHEN length(e.raw) <= ` + strconv.Itoa(store.MaxOutline) + ` THEN e.raw END
		FROM w CROSS JOIN events e ON e.event_id = w.id
		LEFT JOIN names a ON a.id = e.agent LEFT JOIN names k ON k.id = e.agent_type LEFT JOIN names s ON s.id = e.session`
}

// Outlines implements [store.Outliner].
func (s *Store) Outlines(ctx context.Context, ids []bloodbank.EventID) (out []store.Outline, err error) {
	err = s.snapshot(ctx, "read a graph from", func(ctx context.Context, tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, outlineSQL(), idList(ids))
		if err != nil {
			return err
		}
		return eachRow(rows, func() error {
			var id, raw sql.RawBytes
			var o store.Outline
			err := rows.Scan(&id, &o.Children, &o.Agent, &o.Session, &raw)
			o.ID, o.Raw = eventID(id), bytes.Clone(raw)
			out = append(out, o)
			return err
		})
	})
	return out, err
}
