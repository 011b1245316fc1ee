// Package config is every setting of the program as one struct tree, and how it
// is filled: flags over environment over .env over the file over the defaults.
//
// It reads text and checks it; it opens nothing else, makes no driver and knows
// none. Whether a bus or store that is well named also exists is said by app.
// The environment variables of the original system are understood.
package config

import (
	"log/slog"
	"time"
)

// Config is the configuration in force. Each field is a key of the file, of the
// flags and of the environment; the comment names them, the meaning, special
// values and the default. [Load] fills it; the zero value is no configuration.
type Config struct {
	// Listen is where the server listens, host:port; port 0 picks a free one. A
	// host that other machines can reach needs HTTP.Tokens or HTTP.Insecure.
	// Key listen, BB_LISTEN, or HTTP_HOST and HTTP_PORT. Default 127.0.0.1:8682.
	Listen string
	// DataDir is the folder of everything that is kept. A leading ~/ is the home
	// folder. Key data_dir, BB_DATA_DIR. Default $XDG_STATE_HOME/bloodbank, or
	// else ~/.local/state/bloodbank.
	DataDir string
	// URL is where clients look for the server. Key url, BB_URL. Default
	// http://127.0.0.1:8682.
	URL string
	// Token is what clients show to the server; empty for none. Secret. Key
	// token, BB_TOKEN. Default empty.
	Token string
	// Name and Environment tell one installation from another for people. Keys
	// name and environment, BB_NAME or SERVICE_NAME and BB_ENVIRONMENT or
	// ENVIRONMENT. Default bloodbank and dev.
	Name, Environment string

	HTTP   HTTP
	Limits Limits
	WAL    WAL
	Bus    Bus
	Store  Store
	// Correlation is who answers questions of cause.
	Correlation Correlation
	Schema      Schema
	Voice       Voice
	Log         Log
	Rabbit      Rabbit
	Redis       Redis
}

// HTTP is who may use the doors. Keys http.*, BB_HTTP_*.
type HTTP struct {
	// Tokens, separated by commas, each at least 16 characters; with any, every
	// caller must show one. Secret. Default none: only this machine may call.
	Tokens []string
	// Insecure lets every machine that reaches the server call without a token.
	// Default false.
	Insecure bool
	// Hosts are further names, separated by commas, under which callers on this
	// machine may reach the server without a token, such as that of a reverse
	// proxy. Default none.
	Hosts []string
	// Origins are the origins of web pages, separated by commas, that may open the
	// live stream, beside those of this server and of this machine; * is all.
	// Default none.
	Origins []string
}

// Limits bound what one caller can send. Keys limits.*, BB_LIMITS_*.
type Limits struct {
	// Event is the largest event in bytes, 1 KiB to 7 MiB. Default 1 MiB.
	Event Size
	// Body is the largest request body in bytes, inflated; not below Event.
	// Default 8 MiB.
	Body Size
	// Batch is how many events one request may hold, at least 1. Default 10,000.
	Batch int
	// Streams is how many event streams may be open, at least 1. Default 1,000.
	Streams int
}

// WAL is the write-ahead log. Keys wal.*, BB_WAL_*.
type WAL struct {
	// SegmentSize is the size of one file in bytes, at least twice
	// Limits.Event, at most 4 GiB. Default 64 MiB.
	SegmentSize Size
	// RetainSize is how many bytes of delivered events are kept as archives; 0
	// sets no limit by size. Default 0.
	RetainSize Size
	// RetainAge is how long delivered events are kept as archives; 0 sets no
	// limit by age. Where this and RetainSize are 0 nothing is archived. Default 0.
	RetainAge time.Duration
}

// Bus is the message bus. Keys bus.*, BB_BUS_*, but BB_BUS for URL.
type Bus struct {
	// URL is embedded for the one inside the process, or the address of a
	// broker: nats://, tls://, amqp:// or amqps://; servers of one cluster of
	// NATS are separated by commas. Its password is kept secret. Default: that
	// of Rabbit.URL where only that is set, else embedded.
	URL string
	// MaxAge is how long the embedded bus keeps delivered messages at least.
	// Default 3 days.
	MaxAge time.Duration
	// SyncInterval is how often the embedded bus fsyncs; what is younger is safe
	// in the write-ahead log. Default 1 s.
	SyncInterval time.Duration
	// QueueType is quorum or classic: what kind of queue RabbitMQ keeps for the
	// recorder. Only quorum queues fsync before they confirm. Default quorum.
	QueueType string
	// Replicas is how many servers of a NATS cluster keep each message, 1 to 5; 0
	// is three where there are so many, else one. Default 0.
	Replicas int
	// ServerSync is how often an external NATS server fsyncs (its
	// sync_interval): the log keeps what is younger. 0 means always. Default 2
	// minutes, as the servers have it.
	ServerSync time.Duration
	// Credentials is a file that is read at each connect: .creds with the user and
	// key for NATS, user:password for RabbitMQ; empty for none. Default empty.
	Credentials string
	// CA, Cert and Key are PEM files for TLS: whom to trust, and who we are.
	// Default empty: the system's roots, and no certificate.
	CA, Cert, Key string
	// CompressAbove is the size in bytes from which a message travels as gzip, if
	// that is smaller; consumers must look at its content encoding then. 0 sends
	// all plainly, as the original's consumers expect. Default 0.
	CompressAbove Size
	// MaxAttempts is how often a broker that works may fail a message before it
	// becomes a dead letter. Default 8.
	MaxAttempts int
	// Routes are further brokers, each with a filter. Variable BB_ROUTES.
	// Default none.
	Routes []Route
}

// Route hands the events that a filter wants to a further broker, beside the
// bus. Its text is NAME=URL FILTER; several are separated by ; or line breaks
// (not within double quotes).
type Route struct {
	// Name has 1 to 32 small letters, digits and dashes. It names the route's
	// place in the log: a route with a new name begins with the next event.
	Name string
	// URL is the broker's, as in Bus.URL, but not embedded. An exchange=NAME
	// behind its ? chooses another exchange of RabbitMQ. Its password is kept
	// secret.
	URL string
	// Filter is in the filter language; empty wants all events.
	Filter string
}

// Store is where events are kept and found. Key store.url, BB_STORE; for the rest
// see [Retention].
type Store struct {
	// URL is sqlite:PATH or postgres://...; empty is events.db in the data
	// folder. Its password is kept secret. Default empty.
	URL string
	// Retention says what leaves it again.
	Retention Retention
}

// Correlation is the tracker. Key correlation.url, BB_CORRELATION.
type Correlation struct {
	// URL is store, or the address of a Redis that holds the causes in the
	// original's keys: redis:// or rediss://user:password@host:port/db. Its
	// password is kept secret. Default: that of Redis where REDIS_HOST or
	// redis.host is set, else store.
	URL string
}

// Schema is what payloads are checked against. Keys schema.dir, BB_SCHEMA_DIR
// and schema.permissive, BB_PERMISSIVE.
type Schema struct {
	// Dir is a folder with schemas beside the built-in ones; empty for none.
	// Default empty.
	Dir string
	// Permissive accepts events whose type has no schema. Default false.
	Permissive bool
}

// Voice is speech to text. Keys voice.*, BB_VOICE_*.
type Voice struct {
	// Recogniser names the engine: pocketsphinx, or one elsewhere: whisperlive (a
	// WhisperLiveKit server), openai (any server with OpenAI's transcription
	// endpoint), vosk (a Vosk server). Default pocketsphinx.
	Recogniser string
	// Upstream is the URL of the engine's server, such as ws://host:8000/asr,
	// http://host:8000/v1 or ws://host:2700; needed for all but pocketsphinx. Its
	// password is kept secret. Default empty.
	Upstream string
	// UpstreamPath is the path of the transcriptions below Upstream, for openai;
	// whisper.cpp has inference. Default audio/transcriptions.
	UpstreamPath string
	// UpstreamToken is shown to that server. Secret. Default empty.
	UpstreamToken string
	// Model is the server's model, for openai and vosk. Default empty: its own.
	Model string
	// Language is what is spoken where a client does not say, such as en. Default
	// empty: the engine's own.
	Language string
	// Origins are the origins of web pages that may speak, beside those of this
	// server, of this machine and of browser extensions, separated by commas; * is
	// all. Default none.
	Origins []string
	// Library is the path or name of the engine's shared library; empty tries
	// the usual ones. Default empty.
	Library string
	// ModelDir is the folder of the engine's model; empty is where the packages
	// put it. Default empty.
	ModelDir string
	// Workers is how many processes recognise at once, up to 64; 0 is the number
	// of CPUs, at most 2. Default 0.
	Workers int
	// MaxSessions is how many clients may speak at once; 0 is 8, or 100 where the
	// engine is elsewhere. Default 0.
	MaxSessions int
	// Grace is how long a session waits for a client that vanished; 0 is not at
	// all. Default 2 minutes.
	Grace time.Duration
}

// Log is what the server writes about itself. Key log.level, BB_LOG_LEVEL.
type Log struct {
	// Level is debug, info, warn or error. Default info.
	Level slog.Level
}

// Rabbit is the original's RabbitMQ. Where its URL is set and Bus.URL is not, it
// is the bus. Keys rabbit.*, BB_RABBIT_*.
type Rabbit struct {
	// URL is the address; its password is kept secret. Also RABBIT_URL. Default
	// amqp://guest:guest@rabbitmq:5672/.
	URL string
	// Exchange is the topic exchange. Also EXCHANGE_NAME. Default
	// bloodbank.events.v1.
	Exchange string
}

// Redis is the original's Redis. Where its Host is set and Correlation.URL is not,
// it holds the causes. Keys redis.*, BB_REDIS_*, and REDIS_HOST, REDIS_PORT,
// REDIS_DB, REDIS_PASSWORD.
type Redis struct {
	Host string // default localhost
	Port int    // default 6379
	DB   int    // default 0
	// Password is kept secret; empty for none. Default empty.
	Password string
	// TTLDays is how many days the causes of an event are remembered, at least
	// 1. Also CORRELATION_TTL_DAYS. Default 30.
	TTLDays int
}

// Values of Bus.URL and Correlation.URL that are no addresses.
const (
	Embedded     = "embedded"
	StoreTracker = "store"
)

// defaults returns the built-in settings, but for DataDir, which depends on the
// environment.
func defaults() Config {
	return Config{
		Listen:      "127.0.0.1:8682",
		URL:         "http://127.0.0.1:8682",
		Name:        "bloodbank",
		Environment: "dev",
		Limits:      Limits{Event: 1 << 20, Body: 8 << 20, Batch: 10_000, Streams: 1000},
		WAL:         WAL{SegmentSize: 64 << 20},
		Bus: Bus{
			URL: Embedded, MaxAge: 72 * time.Hour, SyncInterval: time.Second,
			QueueType: "quorum", ServerSync: 2 * time.Minute, MaxAttempts: 8,
		},
		Correlation: Correlation{URL: StoreTracker},
		Voice:       Voice{Recogniser: "pocketsphinx", Grace: 2 * time.Minute},
		Rabbit:      Rabbit{URL: "amqp://guest:guest@rabbitmq:5672/", Exchange: "bloodbank.events.v1"},
		Redis:       Redis{Host: "localhost", Port: 6379, TTLDays: 30},
	}
}

// String returns the settings without secrets, so that a Config can be logged.
func (c Config) String() string { return c.Redacted(nil).String() }

// GoString is String, for %#v.
func (c Config) GoString() string { return c.String() }
