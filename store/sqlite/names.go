package sqlite

import "github.com/33god/bloodbank/store/sqlfilter"

// names is the dictionary of the writer: texts that repeat, as integers.
type names struct {
	ids map[sqlfilter.Name]int64
}

func newNames() *names { return &names{ids: map[sqlfilter.Name]int64{}} }

// forget must follow a transaction that failed: its new ids do not exist.
func (n *names) forget() { clear(n.ids) }

// intern returns the id of a name, within a transaction.
func (n *names) intern(c *conn, key sqlfilter.Name) (int64, error) {
	if id, ok := n.ids[key]; ok {
		return id, nil
	}
	id, err := c.int("SELECT id FROM names WHERE kind = ? AND text = ?", int64(key.Kind), key.Text)
	if err == nil && id == 0 {
		id, err = c.int("INSERT INTO names (kind, text) VALUES (?, ?) RETURNING id", int64(key.Kind), key.Text)
	}
	if err != nil {
		return 0, err
	}
	if len(n.ids) >= sqlfilter.MaxNames {
		clear(n.ids)
	}
	n.ids[key] = id
	return id, nil
}
