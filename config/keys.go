package config

import (
	"net"
	"slices"
	"strings"
)

// key ties a name to a field.
type key struct {
	name string
	// env are the variables that set it, weakest first; ours is the last.
	env    []string
	field  field
	secret secrecy
}

// secrecy says what of a value may be shown.
type secrecy int

const (
	open      secrecy = iota
	hidden            // nothing but whether it is set
	password          // a URL whose password is hidden
	passwords         // text with such URLs among its words
)

// keys lists all settings in the order in which they are shown. This table is
// the one place that names them.
func (c *Config) keys() []key {
	return []key{
		k("listen", text(&c.Listen)),
		k("data_dir", text(&c.DataDir)),
		k("url", text(&c.URL)).as(password),
		k("token", text(&c.Token)).as(hidden),
		k("name", text(&c.Name), "SERVICE_NAME"),
		k("environment", text(&c.Environment), "ENVIRONMENT"),
		k("http.tokens", words(&c.HTTP.Tokens)).as(hidden),
		k("http.insecure", truth(&c.HTTP.Insecure)),
		k("http.hosts", words(&c.HTTP.Hosts)),
		k("http.origins", words(&c.HTTP.Origins)),
		k("limits.event", size(&c.Limits.Event)),
		k("limits.body", size(&c.Limits.Body)),
		k("limits.batch", number(&c.Limits.Batch)),
		k("limits.streams", number(&c.Limits.Streams)),
		k("wal.segment_size", size(&c.WAL.SegmentSize)),
		k("wal.retain_size", size(&c.WAL.RetainSize)),
		k("wal.retain_age", duration(&c.WAL.RetainAge)),
		k("bus.url", text(&c.Bus.URL)).named("BB_BUS").as(password),
		k("bus.max_age", duration(&c.Bus.MaxAge)),
		k("bus.sync_interval", duration(&c.Bus.SyncInterval)),
		k("bus.queue_type", text(&c.Bus.QueueType)),
		k("bus.replicas", number(&c.Bus.Replicas)),
		k("bus.server_sync", duration(&c.Bus.ServerSync)),
		k("bus.credentials", text(&c.Bus.Credentials)),
		k("bus.ca", text(&c.Bus.CA)),
		k("bus.cert", text(&c.Bus.Cert)),
		k("bus.key", text(&c.Bus.Key)),
		k("bus.compress_above", size(&c.Bus.CompressAbove)),
		k("bus.max_attempts", number(&c.Bus.MaxAttempts)),
		k("bus.routes", routes(&c.Bus.Routes)).named("BB_ROUTES").as(passwords),
		k("store.url", text(&c.Store.URL)).named("BB_STORE").as(password),
		k("store.retention.max_age", duration(&c.Store.Retention.MaxAge)),
		k("store.retention.max_bytes", size(&c.Store.Retention.MaxBytes)),
		k("store.retention.rules", retentionRules(&c.Store.Retention.Rules)),
		k("correlation.url", text(&c.Correlation.URL)).named("BB_CORRELATION").as(password),
		k("schema.dir", text(&c.Schema.Dir)),
		k("schema.permissive", truth(&c.Schema.Permissive)).named("BB_PERMISSIVE"),
		k("voice.recogniser", text(&c.Voice.Recogniser)),
		k("voice.upstream", text(&c.Voice.Upstream)).as(password),
		k("voice.upstream_path", text(&c.Voice.UpstreamPath)),
		k("voice.upstream_token", text(&c.Voice.UpstreamToken)).as(hidden),
		k("voice.model", text(&c.Voice.Model)),
		k("voice.language", text(&c.Voice.Language)),
		k("voice.origins", words(&c.Voice.Origins)),
		k("voice.library", text(&c.Voice.Library)),
		k("voice.model_dir", text(&c.Voice.ModelDir)),
		k("voice.workers", number(&c.Voice.Workers)),
		k("voice.max_sessions", number(&c.Voice.MaxSessions)),
		k("voice.grace", duration(&c.Voice.Grace)),
		k("log.level", level(&c.Log.Level)),
		k("rabbit.url", text(&c.Rabbit.URL), "RABBIT_URL").as(password),
		k("rabbit.exchange", text(&c.Rabbit.Exchange), "EXCHANGE_NAME"),
		k("redis.host", text(&c.Redis.Host), "REDIS_HOST"),
		k("redis.port", number(&c.Redis.Port), "REDIS_PORT"),
		k("redis.db", number(&c.Redis.DB), "REDIS_DB"),
		k("redis.password", text(&c.Redis.Password), "REDIS_PASSWORD").as(hidden),
		k("redis.ttl_days", number(&c.Redis.TTLDays), "CORRELATION_TTL_DAYS"),
	}
}

// k makes a key whose variable is BB_ and its name in capitals, behind those of
// the original.
func k(name string, f field, originals ...string) key {
	ours := "BB_" + strings.ToUpper(strings.ReplaceAll(name, ".", "_"))
	return key{name: name, env: append(originals, ours), field: f}
}

func (k key) as(s secrecy) key {
	k.secret = s
	return k
}

// named gives the key another variable of ours.
func (k key) named(variable string) key {
	k.env = append(slices.Clone(k.env[:len(k.env)-1]), variable)
	return k
}

// listenPart returns the setter of one of the original's two variables for the
// address, nil for other variables.
func (c *Config) listenPart(variable string) func(string) error {
	switch variable {
	case "HTTP_HOST":
		return func(host string) error {
			_, port, _ := net.SplitHostPort(c.Listen)
			c.Listen = net.JoinHostPort(host, port)
			return nil
		}
	case "HTTP_PORT":
		return func(port string) error {
			host, _, _ := net.SplitHostPort(c.Listen)
			c.Listen = net.JoinHostPort(host, port)
			return nil
		}
	}
	return nil
}

// foreign reports whether a BB_ variable is no setting but belongs to another
// part of the program.
func foreign(variable string) bool {
	return variable == "BB_CONFIG" || variable == "BB_PARENT_EVENT_ID" || strings.HasPrefix(variable, "BB_TEST_")
}

// nearest returns the candidate that is closest to a misspelt name, "" where
// none is close.
func nearest(name string, candidates []string) string {
	best, limit := "", max(2, len(name)/3)+1
	for _, c := range candidates {
		if d := distance(name, c); d < limit {
			best, limit = c, d
		}
	}
	return best
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := corner
			if a[i] != b[j] {
				d++
			}
			corner = row[j+1]
			row[j+1] = min(d, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
