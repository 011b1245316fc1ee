package sqlite

// kind keeps the names of different columns apart.
type kind int64

// The kinds are part of the file format. Agents' names and types share one.
const (
	kindType kind = iota + 1
	kindApp
	kindHost
	kindSource
	kindAgent
	kindSession
	kindProject
)

// nameColumns is how many columns of an event refer to a name.
const nameColumns = 8

// kindOfColumn is the kind of the i-th of them: type, app, host, source, agent,
// agent_type, session, project.
func kindOfColumn(i int) kind {
	if i <= 4 {
		return kindType + kind(i)
	}
	return kindType + kind(i-1)
}

type name struct {
	kind kind
	text string
}

// maxNames bounds the memory of the dictionary; sessions come and go, so when
// it is full it starts again from the file.
const maxNames = 50_000

// names is the dictionary of the writer: texts that repeat, as integers.
type names struct {
	ids map[name]int64
}

func newNames() *names { return &names{ids: map[name]int64{}} }

// forget must follow a transaction that failed: its new ids do not exist.
func (n *names) forget() { clear(n.ids) }

// intern returns the id of a name, within a transaction.
func (n *names) intern(c *conn, k kind, text string) (int64, error) {
	key := name{k, text}
	if id, ok := n.ids[key]; ok {
		return id, nil
	}
	id, err := c.int("SELECT id FROM names WHERE kind = ? AND text = ?", int64(k), text)
	if err == nil && id == 0 {
		id, err = c.int("INSERT INTO names (kind, text) VALUES (?, ?) RETURNING id", int64(k), text)
	}
	if err != nil {
		return 0, err
	}
	if len(n.ids) >= maxNames {
		clear(n.ids)
	}
	n.ids[key] = id
	return id, nil
}
