package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/33god/bloodbank"
)

// Validate checks all settings and names every bad key at once, with where its
// value comes from; p may be nil. The error is like that of [Load].
func (c Config) Validate(p Provenance) error { return report(c.faults(p)) }

// checker collects the faults of a configuration.
type checker struct {
	keys  []key
	from  Provenance
	found []bloodbank.Detail
}

// that notes a fault of the key unless ok; the text goes on behind the value.
func (c *checker) that(ok bool, name, format string, args ...any) {
	if ok {
		return
	}
	i := slices.IndexFunc(c.keys, func(k key) bool { return k.name == name })
	value := c.keys[i].display(c.keys[i].field.get())
	c.found = append(c.found, bloodbank.Detail{
		Pointer: pointer(name),
		Message: fmt.Sprintf("%s (%s) %s", value, c.from.Of(name), fmt.Sprintf(format, args...)),
	})
}

func (c Config) faults(p Provenance) []bloodbank.Detail {
	check := checker{keys: c.keys(), from: p}
	c.checkDoors(&check)
	c.checkLimits(&check)
	c.checkDrivers(&check)
	c.checkBus(&check)
	c.checkRetention(&check)
	return check.found
}

func (c Config) checkDoors(check *checker) {
	host, port, err := net.SplitHostPort(c.Listen)
	ok := err == nil && isPort(port, 0)
	check.that(ok, "listen", "is no address; use host:port with a port from 0 (any free one) to 65535, such as 127.0.0.1:8682")
	if ok && !isLoopback(host) && !c.HTTP.Insecure && len(c.HTTP.Tokens) == 0 {
		check.that(false, "listen", "can be reached from other machines: set http.tokens (BB_HTTP_TOKENS), or http.insecure = true (--insecure) to let everybody in, or listen on 127.0.0.1")
	}
	check.that(c.DataDir != "", "data_dir", "is empty and the environment names no home; set data_dir (--data, BB_DATA_DIR)")
	u, err := url.Parse(c.URL)
	check.that(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "", "url", "is no address of a server; use one such as http://127.0.0.1:8682")
	check.that(!strings.ContainsAny(c.Token, " \t\r\n"), "token", "holds a space; tokens have none")
	for _, t := range c.HTTP.Tokens {
		if len(t) < 16 || strings.ContainsAny(t, " \t\r\n") {
			check.that(false, "http.tokens", "holds a token of fewer than 16 characters, or with a space; make one with: openssl rand -hex 24")
			break
		}
	}
	check.that(c.Name != "", "name", "must not be empty")
}

func (c Config) checkLimits(check *checker) {
	check.that(c.Limits.Event >= 1<<10 && c.Limits.Event <= 7<<20, "limits.event", "is out of range; use 1KiB to 7MiB")
	check.that(c.Limits.Body >= c.Limits.Event && c.Limits.Body <= 1<<30, "limits.body", "is out of range; use limits.event (%s) to 1GiB", c.Limits.Event)
	check.that(c.Limits.Batch >= 1, "limits.batch", "is too small; use 1 or more")
	check.that(c.Limits.Streams >= 1, "limits.streams", "is too small; use 1 or more")
	least := max(2*c.Limits.Event, 64<<10)
	check.that(c.WAL.SegmentSize >= least && c.WAL.SegmentSize <= 4<<30, "wal.segment_size", "is out of range; use %s (twice limits.event) to 4GiB", least)
	check.that(c.WAL.RetainSize >= 0, "wal.retain_size", "is negative; use 0 for no limit")
	check.that(c.WAL.RetainAge >= 0, "wal.retain_age", "is negative; use 0 for no limit")
}

func (c Config) checkDrivers(check *checker) {
	sqlite := strings.HasPrefix(c.Store.URL, "sqlite:")
	check.that(c.Store.URL == "" || sqlite || hasScheme(c.Store.URL, "postgres", "postgresql"), "store.url", "names no store; use sqlite:PATH or postgres://user:password@host:5432/database, or leave it empty")
	check.that(c.Correlation.URL == StoreTracker || hasScheme(c.Correlation.URL, "redis", "rediss"), "correlation.url", "names no tracker; use store, or redis://user:password@host:6379/0")
	check.that(slices.Contains([]string{"pocketsphinx", "whisperlive", "openai", "vosk"}, c.Voice.Recogniser), "voice.recogniser", "names no recogniser; use pocketsphinx, whisperlive, openai or vosk")
	needs := c.Voice.Recogniser != "pocketsphinx"
	check.that(!needs || hasScheme(c.Voice.Upstream, "http", "https", "ws", "wss"), "voice.upstream", "is no URL of a server; give that of the %s server, such as ws://127.0.0.1:8000/asr or http://127.0.0.1:8000/v1", c.Voice.Recogniser)
	check.that(c.Voice.Workers >= 0 && c.Voice.Workers <= 64, "voice.workers", "is out of range; use 1 to 64, or 0 for the default")
	check.that(c.Voice.MaxSessions >= 0, "voice.max_sessions", "is negative; use 0 for the default")
	check.that(c.Voice.Grace >= 0, "voice.grace", "is negative; use 0 for no grace")
	check.that(hasScheme(c.Rabbit.URL, "amqp", "amqps"), "rabbit.url", "is no RabbitMQ address; use one such as amqp://user:password@host:5672/")
	check.that(c.Rabbit.Exchange != "" && len(c.Rabbit.Exchange) <= 255, "rabbit.exchange", "is no name of an exchange; use 1 to 255 bytes")
	check.that(c.Redis.Host != "", "redis.host", "must not be empty")
	check.that(isPort(strconv.Itoa(c.Redis.Port), 1), "redis.port", "is no port; use 1 to 65535")
	check.that(c.Redis.DB >= 0, "redis.db", "is negative; use 0 or more")
	check.that(c.Redis.TTLDays >= 1, "redis.ttl_days", "is too short; use 1 or more days")
}

func (c Config) checkBus(check *checker) {
	check.that(c.Bus.URL == Embedded || isBroker(c.Bus.URL), "bus.url", "names no bus; use embedded, or the URL of a broker: nats://host:4222 or amqp://user:password@host:5672/")
	check.that(c.Bus.MaxAge > 0, "bus.max_age", "must be longer than 0")
	check.that(c.Bus.SyncInterval > 0, "bus.sync_interval", "must be longer than 0")
	check.that(c.Bus.QueueType == "quorum" || c.Bus.QueueType == "classic", "bus.queue_type", "is no kind of queue; use quorum or classic")
	check.that(c.Bus.Replicas >= 0 && c.Bus.Replicas <= 5, "bus.replicas", "is out of range; use 1 to 5, or 0 for what fits the cluster")
	check.that(c.Bus.ServerSync >= 0, "bus.server_sync", "is negative; use the server's sync_interval, or 0 where that is always")
	check.that((c.Bus.Cert == "") == (c.Bus.Key == ""), "bus.cert", "and bus.key belong together; set both or none")
	check.that(c.Bus.CompressAbove >= 0, "bus.compress_above", "is negative; use 0 to compress nothing")
	check.that(c.Bus.MaxAttempts >= 1, "bus.max_attempts", "is too small; use 1 or more")
	for i, r := range c.Bus.Routes {
		check.that(isBroker(r.URL), "bus.routes", "leads route %s to no broker; use NAME=URL FILTER with a URL such as nats://host:4222 or amqp://user:password@host:5672/", r.Name)
		check.that(r.Name != "bus", "bus.routes", "names a route bus, which is the name of the main bus; take another")
		twice := slices.ContainsFunc(c.Bus.Routes[:i], func(o Route) bool { return o.Name == r.Name })
		check.that(!twice, "bus.routes", "names route %s twice; a name is a place in the log, so each needs its own", r.Name)
	}
}

// isBroker reports whether s is the URL of a broker, or a list of those of one
// cluster of NATS.
func isBroker(s string) bool {
	if hasScheme(s, "amqp", "amqps") {
		return true
	}
	for one := range strings.SplitSeq(s, ",") {
		if !hasScheme(one, "nats", "tls") {
			return false
		}
	}
	return true
}

func isPort(s string, least int) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= least && n <= 65535
}

// isLoopback reports whether only this machine can reach host. A name other
// than localhost may be anything.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

func hasScheme(s string, schemes ...string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && slices.Contains(schemes, u.Scheme)
}
