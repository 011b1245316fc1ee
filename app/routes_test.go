//go:build unix

package app

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/bus/jetstream"
	"github.com/33god/bloodbank/gateway"
	"github.com/33god/bloodbank/internal/testenv"
)

func TestRouteRule(t *testing.T) {
	t.Parallel()
	event := func(eventType bloodbank.EventType, payload string) *bloodbank.Envelope {
		return &bloodbank.Envelope{EventType: eventType, Payload: []byte(payload)}
	}
	for filter, c := range map[string]struct {
		types string
		match bool
		event *bloodbank.Envelope
		want  bool
	}{
		"":                              {},
		"type:agent.*,*.failed":         {types: "agent.* *.failed"},
		"-type:agent.*":                 {match: true, event: event("artifact.created", "{}"), want: true},
		"type:a.* payload.level:>3":     {types: "a.*", match: true, event: event("a.b", `{"level":4}`), want: true},
		"payload.level:>3 type:a.*,b.c": {types: "a.* b.c", match: true, event: event("a.b", `{"level":3}`)},
	} {
		rule, err := routeRule(filter)
		if err != nil {
			t.Errorf("%s: %v", filter, err)
			continue
		}
		if got := strings.Join(rule.Types, " "); got != c.types || (rule.Match != nil) != c.match {
			t.Errorf("%q: types %q, match %t", filter, got, rule.Match != nil)
			continue
		}
		if c.match && rule.Match(c.event) != c.want {
			t.Errorf("%q: got %t", filter, !c.want)
		}
	}
	if _, err := routeRule("payload.x:>"); err == nil {
		t.Error("a filter that cannot be read made a rule")
	}
}

func TestCutExchange(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][2]string{
		"amqp://u:p@h/":                         {"amqp://u:p@h/", ""},
		"amqp://u:p@h/v?exchange=x":             {"amqp://u:p@h/v", "x"},
		"amqp://h/?exchange=a.b&heartbeat=5":    {"amqp://h/?heartbeat=5", "a.b"},
		"amqp://h/?exchange=with%20space&a=%2F": {"amqp://h/?a=%2F", "with space"},
	} {
		rest, exchange, err := cutExchange(in)
		if err != nil || rest != want[0] || exchange != want[1] {
			t.Errorf("%s: %q, %q, %v", in, rest, exchange, err)
		}
	}
	if _, _, err := cutExchange("amqp://u:geheim@h:x/"); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("got %v", err)
	}
}

// A route that cannot be is an error at start, with its name.
func TestWrongRoutesAreNamed(t *testing.T) {
	t.Parallel()
	for route, want := range map[string]string{
		"alarms=nats://127.0.0.1:1 payload.x:>": "route alarms",
	} {
		a := New(loadEngines(t, map[string]string{"bus.routes": route}), "test", io.Discard)
		err := a.Start(t.Context())
		if err == nil {
			t.Errorf("%s: it started", route)
			_ = a.Stop(t.Context())
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", route, err)
		}
	}
}

// A route gets what its filter wants, in order, also what came while its broker
// was down; the bus gets everything.
func TestRouteGetsWhatItWants(t *testing.T) {
	t.Parallel()
	server := testenv.NATS(t, testenv.NATSOptions{})
	server.Stop()
	a := startEngines(t, loadEngines(t, map[string]string{
		"bus.routes": "loud=" + server.URL() + ` type:llm.prompt,artifact.* payload.prompt:loud*`,
	}))
	var want, all []bloodbank.EventID
	for _, prompt := range []string{"loud 1", "soft", "loud 2", "loud 3", "soft"} {
		r := gateway.Request{Envelope: bloodbank.Envelope{EventType: "llm.prompt", OrderingKey: "one", Payload: []byte(`{"provider":"x","prompt":"` + prompt + `"}`)}}
		receipt, err := a.gateway.Accept(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, receipt.EventID)
		if strings.HasPrefix(prompt, "loud") {
			want = append(want, receipt.EventID)
		}
	}
	awaitAll(t, a, all...)
	server.Start()
	far, err := jetstream.Dial(t.Context(), jetstream.DialOptions{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := far.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	var got []bloodbank.EventID
	err = far.Consume(ctx, bus.Consumer{Group: "listener"}, func(_ context.Context, batch []bus.Delivery) error {
		for _, d := range batch {
			got = append(got, d.ID)
		}
		if len(got) >= len(want) {
			cancel()
		}
		return nil
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if s := a.routeStatus(); len(s) != 1 || s[0].Target != "loud" || s[0].Dead != 0 {
		t.Errorf("status %+v", s)
	}
}
