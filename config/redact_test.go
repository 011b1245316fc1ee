package config_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/33god/bloodbank/config"
)

func TestRedactedHidesSecrets(t *testing.T) {
	t.Parallel()
	cfg, from, _ := config.Load(sources("BB_TOKEN=sesame-token", "BB_HTTP_TOKENS=sesame-one-16-chars,sesame-two-16-chars", "REDIS_PASSWORD=sesame",
		"BB_BUS=amqp://me:sesame@mq:5672/", "BB_STORE=postgres://me@db/x?password=sesame&sslmode=off", "RABBIT_URL=amqp://me:%zzsesame@mq/"))
	data, err := json.Marshal(cfg.Redacted(from))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"JSON": string(data), "text": cfg.Redacted(from).String(),
		"v": fmt.Sprintf("%v", cfg), "+v": fmt.Sprintf("%+v", cfg), "#v": fmt.Sprintf("%#v", cfg), "pointer": fmt.Sprintf("%v", &cfg),
	} {
		if strings.Contains(text, "sesame") {
			t.Errorf("%s shows a secret: %s", name, text)
		}
		if !strings.Contains(text, "amqp://me:*****@mq:5672/") || !strings.Contains(text, "sslmode=off") && name != "JSON" {
			t.Errorf("%s hides too much: %s", name, text)
		}
	}
	if !strings.Contains(string(data), `{"key":"redis.password","value":"*****","source":"environment REDIS_PASSWORD"}`) {
		t.Errorf("JSON: %s", data)
	}
}

func TestPasswordsInURLs(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"embedded":                      "embedded",
		"nats://h:4222":                 "nats://h:4222",
		"amqp://h/":                     "amqp://h/",
		"amqp://u:secret@h/v":           "amqp://u:*****@h/v",
		"nats://secret@h:4222":          "nats://*****@h:4222",
		"amqp://u:s@secret@h/":          "amqp://u:*****@h/",
		"amqp://u:s/secret@h/":          "amqp://*****@h/",
		"amqp://u:1#secret@h/":          "amqp://*****@h/",
		"amqp://u:s@x/secret@h/":        "amqp://*****@h/",
		"amqp://u:%zzsecret@h/":         "amqp://*****@h/",
		"u:secret@h":                    "*****@h",
		"amqp:u:secret@h":               "*****@h",
		"postgres://h/d?sslkey=secret":  "postgres://h/d?sslkey=*****",
		"postgres://u:secret@h/d?a=b":   "postgres://u:*****@h/d?a=b",
		"nats://u:secret@h?x_token=bla": "nats://u:*****@h?x_token=*****",
		"sqlite:/home/me/x.db":          "sqlite:/home/me/x.db",
	} {
		cfg, from, _ := config.Load(sources("BB_BUS=" + url))
		for _, s := range cfg.Redacted(from) {
			if s.Key == "bus.url" && s.Value != want {
				t.Errorf("%s is shown as %s, want %s", url, s.Value, want)
			}
		}
	}
}

func TestFaultsHideSecrets(t *testing.T) {
	t.Parallel()
	msg := faults(t, sources("BB_BUS=http://u:sesame@h", "RABBIT_URL=u:sesame@h", "BB_STORE=mysql://u:sesame@h/d", "BB_TOKEN=sesame x"))
	if strings.Contains(msg, "sesame") {
		t.Errorf("the message shows a secret:\n%s", msg)
	}
}
