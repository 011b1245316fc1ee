package torture

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/redis/go-redis/v9"

	"github.com/33god/bloodbank"
)

// Isolation says what torture has for itself on the user's servers.
type Isolation struct {
	// Own are the names that it makes and removes, a line each, with … for what
	// differs from run to run.
	Own []string
	// Shared is what it cannot have for itself and why that matters, "" for nothing.
	Shared string
}

// Isolate says how the set-up of o keeps torture apart from everybody else.
func Isolate(o Options) Isolation {
	var i Isolation
	switch scheme(o.Bus) {
	case "amqp", "amqps":
		i.Own = append(i.Own, "on the broker: the exchange "+prefix+"… and its queue")
	case "nats", "tls":
		i.Shared = "a NATS server has one stream for Bloodbank, so torture would publish into yours and take messages from your recorder. " +
			"Use an account or a server of its own, or say --yes where this one carries nothing else"
	}
	if isRemote(o.Store) {
		i.Own = append(i.Own, "in the database: the schema "+schemaPrefix+"…")
	}
	if isRemote(o.Correlation) {
		i.Own = append(i.Own, "on Redis: keys of its own events")
	}
	return i
}

const (
	prefix       = "bloodbank.torture."
	schemaPrefix = "bb_torture_"
)

// ordered reports whether the bus hands out in order also what a killed program
// had received and not stored. A NATS server on its own keeps that back until it
// takes the program for dead, and hands out younger events meanwhile.
func ordered(bus string) bool {
	s := scheme(bus)
	return s != "nats" && s != "tls"
}

func scheme(address string) string {
	s, _, remote := strings.Cut(address, "://")
	if !remote {
		return ""
	}
	return s
}

// names are what a run calls its things on other people's servers.
type names struct {
	id    string
	alone bool // nobody else's events can reach our store
}

func newNames() (names, error) {
	b := make([]byte, 5)
	if _, err := rand.Read(b); err != nil {
		return names{}, err
	}
	return names{id: hex.EncodeToString(b)}, nil
}

func (n names) exchange() string { return prefix + n.id }

func (n names) queue() string { return n.exchange() + ".recorder" }

func (n names) schema() string { return schemaPrefix + n.id }

// mine reports whether an event can be one of this run.
func (n names) mine(e *bloodbank.Envelope) bool { return n.alone || e.Source.App == appName }

// storeURL chooses a schema of our own in the user's database.
func (n names) storeURL(address string) string {
	if !isRemote(address) {
		return address
	}
	u, err := url.Parse(address)
	if err != nil {
		return address // openWay says so
	}
	q := u.Query()
	q.Set("search_path", n.schema())
	u.RawQuery = q.Encode()
	return u.String()
}

// environment is that of the program.
func (n names) environment(o Options, ways []*way) []string {
	env := append([]string{}, o.Env...)
	set := func(name, value string) { env = append(env, name+"="+value) }
	for _, w := range ways {
		switch {
		case w.target == targetBus && w.address == "":
			set("BB_BUS", "embedded")
		case w.target == targetBus:
			set("BB_BUS", w.address)
		case w.target == targetStore && !isRemote(w.address):
			set("BB_STORE", "sqlite:"+filepath.Join(o.Dir, "data", "events.db"))
		case w.target == targetStore:
			set("BB_STORE", w.address)
		case w.address == "":
			set("BB_CORRELATION", "store")
		default:
			set("BB_CORRELATION", w.address)
		}
	}
	set("BB_RABBIT_EXCHANGE", n.exchange())
	set("BB_REDIS_TTL_DAYS", "1")
	set("BB_CONFIG", "-") // no file of the user's
	// Voice takes time and memory, and what it publishes takes the same way.
	set("BB_VOICE_MODEL_DIR", filepath.Join(o.Dir, "none"))
	// Small files turn over while torture lasts.
	set("BB_LIMITS_EVENT", "256KiB")
	set("BB_WAL_SEGMENT_SIZE", "2MiB")
	return env
}

// leftovers names what there is to remove, without secrets.
func (n names) leftovers(o Options) string {
	list := []string{"the folder " + o.Dir}
	if s := scheme(o.Bus); s == "amqp" || s == "amqps" {
		list = append(list, "exchange "+n.exchange(), "queue "+n.queue())
	}
	if isRemote(o.Store) {
		list = append(list, "schema "+n.schema())
	}
	if isRemote(o.Correlation) {
		list = append(list, "keys in Redis, which expire within a day")
	}
	return strings.Join(list, ", ")
}

// removal bounds the cleaning up.
const removal = 30 * time.Second

// remove deletes what the program made on the user's servers.
func (n names) remove(ctx context.Context, o Options, l *ledger) error {
	ctx, cancel := context.WithTimeout(ctx, removal)
	defer cancel()
	var errs []error
	if s := scheme(o.Bus); s == "amqp" || s == "amqps" {
		errs = append(errs, n.removeQueue(o.Bus))
	}
	if isRemote(o.Store) {
		errs = append(errs, n.removeSchema(ctx, o.Store))
	}
	if isRemote(o.Correlation) {
		errs = append(errs, removeKeys(ctx, o.Correlation, l.ids()))
	}
	return errors.Join(errs...)
}

// The drivers' errors may hold a URL with its password, so they are not passed on
// where they are about connecting.
var errReach = errors.New("it cannot be reached")

func (n names) removeQueue(address string) error {
	conn, err := amqp.DialConfig(address, amqp.Config{Dial: amqp.DefaultDial(removal / 3)})
	if err != nil {
		return fmt.Errorf("broker: %w", errReach)
	}
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	if err == nil {
		_, err = ch.QueueDelete(n.queue(), false, false, false)
	}
	if err == nil {
		err = ch.ExchangeDelete(n.exchange(), false, false)
	}
	if err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	return nil
}

func (n names) removeSchema(ctx context.Context, address string) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return fmt.Errorf("database: %w", errReach)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, "DROP SCHEMA IF EXISTS "+pgx.Identifier{n.schema()}.Sanitize()+" CASCADE"); err != nil {
		return fmt.Errorf("database: %w", err)
	}
	return nil
}

func removeKeys(ctx context.Context, address string, ids []bloodbank.EventID) error {
	o, err := redis.ParseURL(address)
	if err != nil {
		return fmt.Errorf("redis: %w", errReach)
	}
	c := redis.NewClient(o)
	defer func() { _ = c.Close() }()
	const step = 500
	for from := 0; from < len(ids); from += step {
		var keys []string
		for _, id := range ids[from:min(from+step, len(ids))] {
			for _, kind := range []string{"forward:", "reverse:", "followed:"} { // a store is known by its first event
				keys = append(keys, "bloodbank:correlation:"+kind+id.String())
			}
		}
		if err := c.Del(ctx, keys...).Err(); err != nil {
			return fmt.Errorf("redis: %w", err)
		}
	}
	return nil
}

// setup is the set-up for people.
func (r *run) setup() Setup {
	return Setup{Bus: shown(r.o.Bus, "embedded"), Store: shown(r.o.Store, "sqlite"), Correlation: shown(r.o.Correlation, "store")}
}

// shown is an address without user and password.
func shown(address, otherwise string) string {
	if !isRemote(address) {
		return otherwise
	}
	var list []string
	for _, one := range strings.Split(address, ",") {
		u, err := url.Parse(one)
		if err != nil {
			list = append(list, scheme(address))
			continue
		}
		u.User, u.RawQuery = nil, ""
		list = append(list, u.String())
	}
	return strings.Join(list, ",")
}
