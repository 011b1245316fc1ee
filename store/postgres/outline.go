package postgres

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

var _ store.Outliner = (*Store)(nil)

func outlineSQL() string {
	return `SELECT e.event_id, (SELECT count(*) FROM (SELECT 1 FROM edges g WHERE g.parent = e.event_id LIMIT ` + strconv.Itoa(store.MaxChildren) + `) AS c),
			coalesce(a.text, k.text, ''), coalesce(s.text, ''), CASE WHEN octet_length(e.raw) <= ` + strconv.Itoa(store.MaxOutline) + ` THEN e.raw END
		FROM (SELECT DISTINCT id FROM unnest($1::uuid[]) AS i (id)) AS w JOIN events e ON e.event_id = w.id
		LEFT JOIN names a ON a.id = e.agent LEFT JOIN names k ON k.id = e.agent_type LEFT JOIN names s ON s.id = e.session`
}

// Outlines implements [store.Outliner].
func (s *Store) Outlines(ctx context.Context, ids []bloodbank.EventID) (out []store.Outline, err error) {
	err = s.call(ctx, "read a graph from", func(ctx context.Context, c *pgx.Conn) error {
		return reading(ctx, c, byIndex, func() error {
			rows, err := c.Query(ctx, outlineSQL(), rawIDs(ids))
			if err != nil {
				return err
			}
			out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (o store.Outline, err error) {
				var id [16]byte
				err = row.Scan(&id, &o.Children, &o.Agent, &o.Session, &o.Raw)
				o.ID, o.Agent, o.Session = id, unescape(o.Agent), unescape(o.Session)
				return o, err
			})
			return err
		})
	})
	return out, err
}
