package postgres

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/33god/bloodbank/store/sqlfilter"
)

// names is the dictionary: texts that repeat, as integers. A name once committed
// never changes, so what is remembered stays true whatever others do, until the
// table itself is made anew; append_batch finds that out.
type names struct {
	mu  sync.Mutex
	ids map[sqlfilter.Name]int64
	oid uint32 // of the table
}

func newNames() *names { return &names{ids: map[sqlfilter.Name]int64{}} }

// reset forgets all, and remembers which table it will be filled from.
func (n *names) reset(oid uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.ids)
	n.oid = oid
}

func (n *names) table() uint32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.oid
}

func (n *names) get(key sqlfilter.Name) (id int64, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	id, ok = n.ids[key]
	return id, ok
}

// put remembers an id that was read from that table.
func (n *names) put(key sqlfilter.Name, id int64, table uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if table != n.oid {
		return
	}
	if len(n.ids) >= sqlfilter.MaxNames {
		clear(n.ids)
	}
	n.ids[key] = id
}

// Names are written before the events that use them, in a transaction of their
// own. One order for all who write keeps them from waiting for each other in a
// circle.
const createNamesSQL = `INSERT INTO names (kind, digest, text)
	SELECT n.kind, n.digest, n.text FROM unnest($1::smallint[], $2::bytea[], $3::text[]) AS n (kind, digest, text)
	ORDER BY n.kind, n.digest ON CONFLICT DO NOTHING`

const findNamesSQL = `SELECT o.id, n.place FROM unnest($1::smallint[], $2::bytea[]) WITH ORDINALITY AS n (kind, digest, place)
	JOIN names o ON o.kind = n.kind AND o.digest = n.digest`

// intern fills in the id of each name, and makes those that are missing. The
// ids hold for the table that it returns.
func (n *names) intern(ctx context.Context, c *pgx.Conn, keys map[sqlfilter.Name]int64) (table uint32, err error) {
	table = n.table()
	var todo []sqlfilter.Name
	for key := range keys {
		id, ok := n.get(key)
		if keys[key] = id; !ok {
			todo = append(todo, key)
		}
	}
	for _, create := range []bool{false, true} {
		if len(todo) == 0 {
			return table, nil
		}
		if create {
			if err := createNames(ctx, c, todo); err != nil {
				return table, err
			}
		}
		if err := findNames(ctx, c, todo, keys); err != nil {
			return table, err
		}
		todo = slices.DeleteFunc(todo, func(key sqlfilter.Name) bool {
			if keys[key] != 0 {
				n.put(key, keys[key], table)
			}
			return keys[key] != 0
		})
	}
	return table, nil
}

func createNames(ctx context.Context, c *pgx.Conn, keys []sqlfilter.Name) error {
	kinds, digests := columnsOf(keys)
	texts := make([]string, len(keys))
	for i, key := range keys {
		texts[i] = escape(key.Text)
	}
	_, err := c.Exec(ctx, createNamesSQL, kinds, digests, texts)
	return err
}

// findNames fills in the ids of those that exist.
func findNames(ctx context.Context, c *pgx.Conn, keys []sqlfilter.Name, ids map[sqlfilter.Name]int64) error {
	kinds, digests := columnsOf(keys)
	rows, err := c.Query(ctx, findNamesSQL, kinds, digests)
	if err != nil {
		return err
	}
	var id int64
	var place int64
	_, err = pgx.ForEachRow(rows, []any{&id, &place}, func() error {
		ids[keys[place-1]] = id
		return nil
	})
	return err
}

func columnsOf(keys []sqlfilter.Name) (kinds []int16, digests [][]byte) {
	for _, key := range keys {
		sum := sha256.Sum256([]byte(key.Text))
		kinds, digests = append(kinds, int16(key.Kind)), append(digests, sum[:])
	}
	return kinds, digests
}

// escape makes any text one that PostgreSQL takes, and unescape turns it back.
func escape(s string) string {
	if !strings.ContainsAny(s, "\\\x00") {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.NewReplacer(`\`, `\\`, "\x00", `\0`).Replace(strings.ToValidUTF8(s, "\uFFFD"))
}

func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return strings.NewReplacer(`\\`, `\`, `\0`, "\x00").Replace(s)
}
