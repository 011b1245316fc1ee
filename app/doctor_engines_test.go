//go:build unix

package app

import (
	"strings"
	"testing"

	"github.com/33god/bloodbank/internal/testenv"
)

// verdicts runs the checks of the engines and returns what each found.
func verdicts(t *testing.T, flags map[string]string) map[string]Finding {
	t.Helper()
	found := make(map[string]Finding)
	for _, f := range checkEngines(t.Context(), loadEngines(t, flags)) {
		found[f.Check] = f
	}
	return found
}

// Doctor tries every server of the configuration: there, down, or refusing us. It
// names the setting, and never a password.
func TestDoctorTriesTheEngines(t *testing.T) {
	t.Parallel()
	rabbit, database, cache := testenv.RabbitMQ(t), testenv.Postgres(t), testenv.Redis(t)
	nats := testenv.NATS(t, testenv.NATSOptions{})
	for name, f := range verdicts(t, map[string]string{
		"bus.url": rabbit.URL(), "store.url": database.URL(), "correlation.url": cache.URL(),
		"bus.routes": "far=" + nats.URL() + " type:a.*; near=" + rabbit.URL() + "?exchange=amq.topic",
	}) {
		if f.Verdict != Pass {
			t.Errorf("%s: %+v", name, f)
		}
	}
	for name, f := range verdicts(t, nil) {
		if f.Verdict != Pass {
			t.Errorf("without servers, %s: %+v", name, f)
		}
	}
	for name, f := range verdicts(t, map[string]string{
		"bus.url": "amqp://u:geheim@127.0.0.1:1/", "store.url": "postgres://u:geheim@127.0.0.1:1/x",
		"correlation.url": "redis://:geheim@127.0.0.1:1/0", "bus.routes": "far=nats://u:geheim@127.0.0.1:1",
	}) {
		if f.Verdict != Warn || strings.Contains(f.Message, "geheim") {
			t.Errorf("down, %s: %+v", name, f)
		}
	}
	settings := map[string]string{"bus": "BB_BUS", "store": "BB_STORE", "correlation": "BB_CORRELATION", "route near": ""}
	for name, f := range verdicts(t, map[string]string{
		"bus.url":         rabbit.URLAs(rabbit.Addr(), "nobody", "geheim"),
		"store.url":       strings.Replace(database.URLAt(database.Addr()), "postgres://", "postgres://nobody:geheim@", 1),
		"correlation.url": strings.Replace(cache.URL(), "redis://", "redis://nobody:geheim@", 1),
		"bus.routes":      "near=" + rabbit.URLAs(rabbit.Addr(), "nobody", "geheim"),
	}) {
		if f.Verdict != Fail || strings.Contains(f.Message, "geheim") || !strings.Contains(f.Message, settings[name]) {
			t.Errorf("refused, %s: %+v", name, f)
		}
	}
}
