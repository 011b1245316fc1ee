package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/config"
)

// sources reads nothing but what the test gives.
func sources(environ ...string) config.Sources {
	return config.Sources{Environ: append([]string{"HOME=/home/me"}, environ...), DotEnvPath: config.None, FilePath: config.None}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, s config.Sources) (config.Config, config.Provenance) {
	t.Helper()
	cfg, from, err := config.Load(s)
	if err != nil {
		t.Fatal(err)
	}
	return cfg, from
}

// faults loads what must fail and returns the message.
func faults(t *testing.T, s config.Sources) string {
	t.Helper()
	_, _, err := config.Load(s)
	if bloodbank.CodeOf(err) != bloodbank.CodeInvalid {
		t.Fatalf("got %v, want an error with CodeInvalid", err)
	}
	return err.Error()
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	cfg, from := load(t, sources())
	if cfg.Listen != "127.0.0.1:8682" || cfg.DataDir != "/home/me/.local/state/bloodbank" || cfg.Bus.URL != "embedded" || cfg.Limits.Event != 1<<20 || cfg.Redis.TTLDays != 30 {
		t.Errorf("got %+v", cfg)
	}
	if len(from) != 0 || from.Of("listen") != "default" {
		t.Errorf("provenance of defaults: %v", from)
	}
	cfg, _ = load(t, sources("XDG_STATE_HOME=/var/state"))
	if cfg.DataDir != "/var/state/bloodbank" {
		t.Errorf("data_dir = %s", cfg.DataDir)
	}
	cfg, _ = load(t, sources("XDG_STATE_HOME=state"))
	if cfg.DataDir != "/home/me/.local/state/bloodbank" {
		t.Errorf("a relative XDG path was used: %s", cfg.DataDir)
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	file := write(t, "bb.conf", "name = file\nbus.max_age = 2d\nwal.segment_size = 16MiB\nlog.level = debug\n")
	dotEnv := write(t, ".env", "BB_NAME=dotenv\nexport BB_BUS_MAX_AGE='36h' # note\nBB_WAL_SEGMENT_SIZE=32MiB\n")
	s := sources("BB_NAME=environment", "BB_WAL_SEGMENT_SIZE=48MiB", "BB_LOG_LEVEL=")
	s.FilePath, s.DotEnvPath = file, dotEnv
	s.Flags = map[string]string{"name": "flag"}
	cfg, from := load(t, s)
	for _, c := range []struct{ got, want, key, source string }{
		{cfg.Name, "flag", "name", "flag"},
		{cfg.WAL.SegmentSize.String(), "48MiB", "wal.segment_size", "environment BB_WAL_SEGMENT_SIZE"},
		{cfg.Bus.MaxAge.String(), "36h0m0s", "bus.max_age", dotEnv + ":2 BB_BUS_MAX_AGE"},
		{cfg.Log.Level.String(), "DEBUG", "log.level", file + ":4"},
		{cfg.Bus.SyncInterval.String(), "1s", "bus.sync_interval", "default"},
	} {
		if c.got != c.want || from.Of(c.key) != c.source {
			t.Errorf("%s = %s from %q, want %s from %q", c.key, c.got, from.Of(c.key), c.want, c.source)
		}
	}
}

func TestFileIsFound(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	for _, dir := range []string{"bloodbank", ".config/bloodbank"} {
		path := filepath.Join(home, dir, "bb.conf")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("name = "+dir), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	named := write(t, "mine.conf", "name = named")
	for want, s := range map[string]config.Sources{
		".config/bloodbank": {Environ: []string{"HOME=" + home}},
		"bloodbank":         {Environ: []string{"HOME=" + home, "XDG_CONFIG_HOME=" + home}},
		"named":             {Environ: []string{"HOME=" + home, "BB_CONFIG=" + named}},
	} {
		s.DotEnvPath = config.None
		if cfg, _ := load(t, s); cfg.Name != want {
			t.Errorf("%v: read %q, want %q", s.Environ, cfg.Name, want)
		}
	}
	if msg := faults(t, sourcesOf(filepath.Join(home, "missing"))); !strings.Contains(msg, "cannot read the configuration file") {
		t.Errorf("a named file that is missing: %s", msg)
	}
}

func sourcesOf(file string) config.Sources {
	s := sources()
	s.FilePath = file
	return s
}

func TestOriginalsVariables(t *testing.T) {
	t.Parallel()
	cfg, from := load(t, sources("HTTP_HOST=localhost", "HTTP_PORT=9000", "RABBIT_URL=amqps://u:p@mq/", "EXCHANGE_NAME=x",
		"REDIS_HOST=r", "REDIS_PORT=1", "REDIS_DB=2", "REDIS_PASSWORD=secret", "CORRELATION_TTL_DAYS=7", "SERVICE_NAME=s", "ENVIRONMENT=prod"))
	if cfg.Listen != "localhost:9000" || from.Of("listen") != "environment HTTP_PORT" {
		t.Errorf("listen = %s from %s", cfg.Listen, from.Of("listen"))
	}
	if want := (config.Redis{Host: "r", Port: 1, DB: 2, Password: "secret", TTLDays: 7}); cfg.Redis != want {
		t.Errorf("redis = %+v", cfg.Redis)
	}
	if cfg.Rabbit.URL != "amqps://u:p@mq/" || cfg.Rabbit.Exchange != "x" || cfg.Name != "s" || cfg.Environment != "prod" {
		t.Errorf("got %v", cfg)
	}
	if cfg, _ = load(t, sources("HTTP_PORT=9000", "BB_LISTEN=127.0.0.1:1", "SERVICE_NAME=theirs", "BB_NAME=ours")); cfg.Listen != "127.0.0.1:1" || cfg.Name != "ours" {
		t.Errorf("ours must beat the original's: %s %s", cfg.Listen, cfg.Name)
	}
	if cfg, _ = load(t, sources("HTTP_PORT=9000")); cfg.Listen != "127.0.0.1:9000" {
		t.Errorf("HTTP_PORT alone: %s", cfg.Listen)
	}
	if msg := faults(t, sources("HTTP_HOST=0.0.0.0")); !strings.Contains(msg, "(environment HTTP_HOST) can be reached from other machines") {
		t.Errorf("HTTP_HOST=0.0.0.0: %s", msg)
	}
}

func TestWhoMayListenWhere(t *testing.T) {
	t.Parallel()
	const token = "BB_HTTP_TOKENS=0123456789abcdef"
	for _, c := range []struct {
		listen string
		more   string
		ok     bool
	}{
		{"127.0.0.1:0", "", true}, {"localhost:1", "", true}, {"[::1]:1", "", true}, {"127.8.9.1:1", "", true}, {"[::ffff:127.0.0.1]:1", "", true},
		{"0.0.0.0:1", "", false}, {":1", "", false}, {"[::]:1", "", false}, {"192.168.0.1:1", "", false}, {"box.lan:1", "", false}, {"localhost.evil:1", "", false},
		{"0.0.0.0:1", token, true}, {"0.0.0.0:1", "BB_HTTP_INSECURE=true", true}, {"0.0.0.0:1", "BB_HTTP_TOKENS= , ", false},
		{"127.0.0.1", "", false}, {"127.0.0.1:http", "", false}, {"127.0.0.1:65536", "", false}, {"127.0.0.1:-1", "", false},
	} {
		_, _, err := config.Load(sources("BB_LISTEN="+c.listen, c.more))
		if (err == nil) != c.ok {
			t.Errorf("listen %s with %q: %v", c.listen, c.more, err)
		}
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	s := sources("BB_LISTN=x", "BB_BUS=kafka://h", "BB_LIMITS_EVENT=many", "BB_HTTP_TOKENS=short-secret", "BB_PARENT_EVENT_ID=x", "BB_TEST_X=1")
	s.FilePath = write(t, "bb.conf", "# fine\n[wal]\nwal.segmentsize = 1\nname\nredis.db = -1 # no\nredis.db = 2\nvoice.library = \"open\n")
	s.Flags = map[string]string{"voice.workers": "65", "loglevel": "info"}
	cfg, _, err := config.Load(s)
	msg := err.Error()
	for _, want := range []string{
		"12 faults",
		"environment BB_LISTN is not known; did you mean BB_LISTEN?",
		`bus.url = "kafka://h" (environment BB_BUS) names no bus`,
		`limits.event = "many" (environment BB_LIMITS_EVENT) is no size`,
		`http.tokens = "*****" (environment BB_HTTP_TOKENS)`,
		"bb.conf:2 there are no sections",
		"bb.conf:3: the key wal.segmentsize is not known; did you mean wal.segment_size?",
		"bb.conf:4 is no setting",
		"bb.conf:6 sets it again, after line 5",
		"bb.conf:7 voice.library lacks the closing \"",
		`redis.db = "-1" (` + s.FilePath + `:5) is negative`,
		`voice.workers = "65" (flag) is out of range`,
		"the flag loglevel is not known; did you mean log.level?",
		"at /bus/url",
	} {
		if !strings.Contains(msg, want) {
			t.Errorf("%q is not in\n%s", want, msg)
		}
	}
	if strings.Contains(msg, "short-secret") || strings.Contains(msg, "BB_PARENT_EVENT_ID") {
		t.Errorf("the message says too much:\n%s", msg)
	}
	if cfg.Limits.Event != 1<<20 || cfg.Redis.DB != -1 {
		t.Errorf("what could be read is not there: %v", cfg)
	}
}

func TestValidateRanges(t *testing.T) {
	t.Parallel()
	for _, variable := range []string{
		"BB_URL=box:8682", "BB_URL=ftp://box", "BB_TOKEN=a b", "BB_LIMITS_EVENT=1023", "BB_LIMITS_EVENT=8MiB", "BB_LIMITS_BODY=512KiB",
		"BB_LIMITS_BATCH=0", "BB_LIMITS_STREAMS=-1", "BB_WAL_SEGMENT_SIZE=1MiB", "BB_WAL_SEGMENT_SIZE=5GiB", "BB_WAL_RETAIN_AGE=-1s", "BB_WAL_RETAIN_SIZE=-1",
		"BB_BUS_MAX_AGE=0", "BB_BUS_SYNC_INTERVAL=0", "BB_BUS=rabbit", "BB_STORE=mysql://h/x", "BB_VOICE_WORKERS=-1", "BB_VOICE_MAX_SESSIONS=x",
		"RABBIT_URL=http://h", "REDIS_PORT=0", "REDIS_PORT=70000", "REDIS_DB=one", "CORRELATION_TTL_DAYS=0", "BB_HTTP_INSECURE=maybe", "BB_LOG_LEVEL=loud",
	} {
		name, _, _ := strings.Cut(variable, "=")
		if msg := faults(t, sources(variable)); !strings.Contains(msg, "(environment "+name+")") || strings.Count(msg, "\n") != 1 {
			t.Errorf("%s: %s", variable, msg)
		}
	}
	if msg := faults(t, config.Sources{DotEnvPath: config.None}); !strings.Contains(msg, "data_dir") {
		t.Errorf("no home: %s", msg)
	}
	for _, variable := range []string{"BB_BUS=nats://h:4222", "BB_BUS=amqp://u:p@h/", "BB_STORE=postgres://h/d", "BB_STORE=sqlite:/x.db", "BB_LIMITS_EVENT=7MiB", "BB_WAL_SEGMENT_SIZE=2MiB"} {
		load(t, sources(variable))
	}
}

func TestHomeIsExpanded(t *testing.T) {
	t.Parallel()
	cfg, _ := load(t, sources("BB_DATA_DIR=~/d", "BB_SCHEMA_DIR=~/s", "BB_VOICE_MODEL_DIR=~/m", "BB_STORE=sqlite:~/x.db"))
	if cfg.DataDir != "/home/me/d" || cfg.Schema.Dir != "/home/me/s" || cfg.Voice.ModelDir != "/home/me/m" || cfg.Store.URL != "sqlite:/home/me/x.db" {
		t.Errorf("got %v", cfg)
	}
}

func TestSizesAndTimes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]config.Size{
		"0": 0, "512": 512, "512B": 512, "64MiB": 64 << 20, "64 MiB": 64 << 20, "64M": 64 << 20, "2gib": 2 << 30, "1kB": 1000, "3TB": 3e12, "1TiB": 1 << 40,
	} {
		if got, err := config.ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "MiB", "1.5MiB", "-1", "1XB", "1 2", "9999999999TiB", "1BB"} {
		if got, err := config.ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, got)
		}
	}
	for want, s := range map[string]config.Size{"0": 0, "1000": 1000, "1KiB": 1024, "1536KiB": 3 << 19, "2GiB": 2 << 30} {
		if s.String() != want {
			t.Errorf("%d prints as %s, want %s", s, s, want)
		}
	}
	for text, want := range map[string]time.Duration{"7d": 168 * time.Hour, "1h30m": 90 * time.Minute, "250ms": 250 * time.Millisecond} {
		if cfg, _ := load(t, sources("BB_BUS_MAX_AGE="+text)); cfg.Bus.MaxAge != want {
			t.Errorf("%s = %s", text, cfg.Bus.MaxAge)
		}
	}
	for _, text := range []string{"5", "d", "-1d", "1.5d", "200000d", "soon"} {
		faults(t, sources("BB_BUS_MAX_AGE="+text))
	}
}

// Every field has its key, and every key shows and reads the same text.
func TestEveryFieldHasAKey(t *testing.T) {
	t.Parallel()
	cfg, _ := load(t, sources())
	shown := cfg.Redacted(nil)
	if n := leaves(reflect.TypeFor[config.Config]()); n != len(shown) {
		t.Errorf("the struct has %d fields, %d are shown", n, len(shown))
	}
	flags := make(map[string]string)
	for _, s := range shown {
		if !strings.Contains(s.Value, "*") {
			flags[s.Key] = s.Value
		}
	}
	s := sources()
	s.Flags = flags
	again, from := load(t, s)
	if !reflect.DeepEqual(cfg, again) || len(from) != len(flags) {
		t.Errorf("read back as\n%v\nwant\n%v", again, cfg)
	}
	s = sources()
	s.FilePath = write(t, "bb.conf", strings.ReplaceAll(shown.String(), "*****", "guest"))
	if again, _ := load(t, s); !reflect.DeepEqual(cfg, again) {
		t.Errorf("the text is no configuration file: it reads as\n%v\nwant\n%v", again, cfg)
	}
}

func leaves(t reflect.Type) int {
	if t.Kind() != reflect.Struct {
		return 1
	}
	n := 0
	for i := range t.NumField() {
		n += leaves(t.Field(i).Type)
	}
	return n
}
