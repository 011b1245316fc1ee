package config_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/33god/bloodbank/config"
)

// The original's variables alone choose RabbitMQ and Redis; ours win over them.
func TestOriginalVariablesChoose(t *testing.T) {
	t.Parallel()
	cfg, from := load(t, sources("RABBIT_URL=amqp://u:p@rabbit/", "REDIS_HOST=cache", "REDIS_PORT=7000", "REDIS_DB=2", "REDIS_PASSWORD=a b/c"))
	if cfg.Bus.URL != "amqp://u:p@rabbit/" || from.Of("bus.url") != "environment RABBIT_URL" {
		t.Errorf("bus.url = %s from %s", cfg.Bus.URL, from.Of("bus.url"))
	}
	if cfg.Correlation.URL != "redis://:a%20b%2Fc@cache:7000/2" || from.Of("correlation.url") != "environment REDIS_HOST" {
		t.Errorf("correlation.url = %s from %s", cfg.Correlation.URL, from.Of("correlation.url"))
	}
	if s := cfg.String(); strings.Contains(s, "a%20b") || strings.Contains(s, "u:p@") {
		t.Errorf("a password is shown:\n%s", s)
	}
	cfg, _ = load(t, sources("RABBIT_URL=amqp://u:p@rabbit/", "BB_BUS=embedded", "REDIS_HOST=cache", "BB_CORRELATION=store"))
	if cfg.Bus.URL != "embedded" || cfg.Correlation.URL != "store" {
		t.Errorf("ours do not win: %s, %s", cfg.Bus.URL, cfg.Correlation.URL)
	}
	cfg, _ = load(t, sources("EXCHANGE_NAME=other", "REDIS_PORT=7000"))
	if cfg.Bus.URL != "embedded" || cfg.Correlation.URL != "store" {
		t.Errorf("chosen by a variable that chooses nothing: %s, %s", cfg.Bus.URL, cfg.Correlation.URL)
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	cfg, _ := load(t, sources(`BB_ROUTES=alarms=amqp://u:secret@h/?exchange=x type:agent.* "a; b \"; c" ; audit=nats://n:4222`))
	want := []config.Route{
		{Name: "alarms", URL: "amqp://u:secret@h/?exchange=x", Filter: `type:agent.* "a; b \"; c"`},
		{Name: "audit", URL: "nats://n:4222"},
	}
	if !reflect.DeepEqual(cfg.Bus.Routes, want) {
		t.Errorf("got %+v", cfg.Bus.Routes)
	}
	if s := cfg.String(); strings.Contains(s, "secret") || !strings.Contains(s, "audit=nats://n:4222") {
		t.Errorf("shown as:\n%s", s)
	}
	for value, part := range map[string]string{
		"amqp://h/":                         "holds no route",
		"Big=amqp://h/":                     "small letters",
		"a=http://h/":                       "leads route a to no broker",
		"bus=amqp://h/":                     "take another",
		"a=embedded":                        "leads route a to no broker",
		"a=amqp://h/;a=amqp://i/":           "names route a twice",
		"a=amqp://u:secret@h/; =":           "holds no route",
		"a=http://u:secret@h/ payload.x:>3": "leads route a",
	} {
		msg := faults(t, sources("BB_ROUTES="+value))
		if !strings.Contains(msg, part) {
			t.Errorf("%s: %s", value, msg)
		}
		if strings.Contains(msg, "secret") {
			t.Errorf("%s: the password is shown: %s", value, msg)
		}
	}
}

func TestClusterOfNATS(t *testing.T) {
	t.Parallel()
	cfg, _ := load(t, sources("BB_BUS=nats://a:4222,nats://b:4222", "BB_BUS_REPLICAS=3"))
	if cfg.Bus.Replicas != 3 {
		t.Errorf("replicas = %d", cfg.Bus.Replicas)
	}
	if msg := faults(t, sources("BB_BUS=nats://u:secret@a:4222,http://b")); strings.Contains(msg, "secret") {
		t.Errorf("the password is shown: %s", msg)
	}
}
