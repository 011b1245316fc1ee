package jetstream

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/33god/bloodbank/internal/testenv"
)

const secret = "hunter2-secret"

// demandRefusal demands an error that is ErrRefused, has the words, and no
// password.
func demandRefusal(t *testing.T, err error, words ...string) {
	t.Helper()
	if !errors.Is(err, ErrRefused) {
		t.Errorf("%v; want ErrRefused", err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v: does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), secret) {
		t.Error("the password is in the error")
	}
}

func refuseDial(t *testing.T, o DialOptions, words ...string) {
	t.Helper()
	var log strings.Builder
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	o.DialTimeout = 3 * time.Second
	b, err := Dial(t.Context(), o)
	if err == nil {
		closeBus(t, b)
	}
	demandRefusal(t, err, words...)
	if strings.Contains(log.String(), secret) {
		t.Error("the password is in the log")
	}
}

func TestDialOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]DialOptions{
		"URL is empty":      {},
		"amqp://":           {URL: "amqp://x"},
		"cannot be read":    {URL: "nats://u:" + secret + "@host:port%"},
		"CredsFile and NK":  {URL: "x", CredsFile: "a", NKeyFile: "b"},
		"User and Token":    {URL: "x", User: "a", Token: secret},
		"CertFile and Key":  {URL: "x", CertFile: "a"},
		"Replicas":          {URL: "x", Replicas: 9},
		"SafeDelay (2m30s)": {URL: "x", DuplicateWindow: time.Minute},
		"Window is -1":      {URL: "x", Window: -1},
		"MaxMessage":        {URL: "x", MaxMessage: 1},
		"CredsFile cannot":  {URL: "x", CredsFile: "/nowhere"},
		"NKeyFile /nowhere": {URL: "x", NKeyFile: "/nowhere"},
		"CAFile cannot":     {URL: "x", CAFile: "/nowhere"},
		"CertFile and":      {URL: "x", CertFile: "/nowhere", KeyFile: "/nowhere"},
	} {
		_, err := Dial(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%v; want %q, and no password", err, want)
		}
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	nkey := filepath.Join(t.TempDir(), "user.nk")
	public, err := writeNKey(nkey)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other.nk")
	if _, err := writeNKey(other); err != nil {
		t.Fatal(err)
	}
	eachVersion(t, func(t *testing.T, o testenv.NATSOptions) {
		t.Parallel()
		with := func(config string) *testenv.NATSServer {
			o := o
			o.Config = config
			return testenv.NATS(t, o)
		}
		s := with(`authorization { users: [ { user: bb, password: "` + secret + `" }, { nkey: ` + public + ` } ] }`)
		at := func(who string) string { return "nats://" + who + "@" + s.Addr() }
		confirm(t, dial(t, DialOptions{URL: at("bb:" + secret)}), 1)
		confirm(t, dial(t, DialOptions{URL: s.URL(), User: "bb", Password: secret}), 1)
		confirm(t, dial(t, DialOptions{URL: s.URL(), NKeyFile: nkey}), 1)
		refuseDial(t, DialOptions{URL: at("bb:" + secret + "x")}, "bb", "password", s.Addr())
		refuseDial(t, DialOptions{URL: at("nobody:" + secret)}, "nobody")
		refuseDial(t, DialOptions{URL: s.URL()}, "without credentials", "bus.credentials")
		refuseDial(t, DialOptions{URL: s.URL(), NKeyFile: other}, "the key of")
		token := with(`authorization { token: "` + secret + `" }`)
		confirm(t, dial(t, DialOptions{URL: token.URL(), Token: secret}), 1)
		confirm(t, dial(t, DialOptions{URL: "nats://" + secret + "@" + token.Addr()}), 1)
		refuseDial(t, DialOptions{URL: token.URL(), Token: secret + "x"}, "token")
	})
}

// TestCredentialsChange: a login that is refused after a loss is tried for ever,
// and Check says so.
func TestCredentialsChange(t *testing.T) {
	t.Parallel()
	s := testenv.NATS(t, testenv.NATSOptions{
		Program: modern, Config: `include "users.conf"`,
		Files: map[string]string{"users.conf": `authorization { user: bb, password: "` + secret + `" }`},
	})
	b := dial(t, impatient("nats://bb:"+secret+"@"+s.Addr()))
	confirm(t, b, 1)
	users := s.File("users.conf")
	s.Stop()
	write(t, users, `authorization { user: bb, password: other }`)
	s.Start()
	testenv.Eventually(t, "Check names the credentials", func() bool {
		err := b.Check(t.Context())
		return errors.Is(err, ErrRefused) && strings.Contains(err.Error(), `"bb"`) && !strings.Contains(err.Error(), secret)
	})
	s.Stop()
	write(t, users, `authorization { user: bb, password: "`+secret+`" }`)
	s.Start()
	ready(t, b)
	confirm(t, b, 1)
}

func TestJetStreamIsOff(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, o testenv.NATSOptions) {
		t.Parallel()
		o.NoJetStream = true
		refuseDial(t, DialOptions{URL: testenv.NATS(t, o).URL()}, "JetStream is off", "-js")
		o.NoJetStream = false
		o.Config = `accounts { A: { users: [ { user: a, password: "` + secret + `" } ] } }`
		refuseDial(t, DialOptions{URL: "nats://a:" + secret + "@" + testenv.NATS(t, o).Addr()}, "account", "JetStream")
	})
}

// foreign is a connection that others would make.
func foreign(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// TestTrapStreamOfOthers: a stream of our name that would lose, change or refuse
// events is refused, with the setting and the cure.
func TestTrapStreamOfOthers(t *testing.T) {
	t.Parallel()
	good := func() jetstream.StreamConfig {
		return jetstream.StreamConfig{Name: Stream, Subjects: []string{SubjectPrefix + ">"}, Storage: jetstream.FileStorage}
	}
	rows := []struct {
		name  string
		spoil func(*jetstream.StreamConfig)
		words []string
	}{
		{"memory storage", func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, []string{"storage is memory", "nats stream rm"}},
		{"work queue", func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, []string{"retention is workqueue", "limits"}},
		{"interest", func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }, []string{"retention is interest", "limits"}},
		{"max_bytes that evicts", func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 }, []string{"max_bytes 1048576", "discard=new"}},
		{"max_msgs that evicts", func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 }, []string{"max_msgs 10", "discard=new"}},
		{"per subject", func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 }, []string{"max_msgs_per_subject 1"}},
		{"other subjects", func(c *jetstream.StreamConfig) { c.Subjects = []string{"orders.>"} }, []string{"subjects are orders.>", SubjectPrefix + ">"}},
		{"no acks", func(c *jetstream.StreamConfig) { c.NoAck = true }, []string{"no_ack"}},
	}
	eachVersion(t, func(t *testing.T, o testenv.NATSOptions) {
		t.Parallel()
		s := testenv.NATS(t, o)
		js := foreign(t, s.URL())
		for _, row := range rows {
			c := good()
			row.spoil(&c)
			if _, err := js.CreateStream(t.Context(), c); err != nil {
				t.Fatalf("%s: %v", row.name, err)
			}
			refuseDial(t, DialOptions{URL: s.URL()}, row.words...)
			if err := js.DeleteStream(t.Context(), Stream); err != nil {
				t.Fatal(err)
			}
		}
		c := good()
		c.Name = "OTHER"
		if _, err := js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		refuseDial(t, DialOptions{URL: s.URL()}, "another stream", SubjectPrefix)
		if err := js.DeleteStream(t.Context(), "OTHER"); err != nil {
			t.Fatal(err)
		}
		refuseDial(t, DialOptions{URL: s.URL(), Replicas: 3}, "Replicas is 3")
	})
}

// TestAdoptsAFitStream takes what others made, changes no more than the memory for
// duplicates, purges nothing and reads the events only.
func TestAdoptsAFitStream(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, o testenv.NATSOptions) {
		t.Parallel()
		s := testenv.NATS(t, o)
		js := foreign(t, s.URL())
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
			Name: Stream, Subjects: []string{"bloodbank.>"}, Storage: jetstream.FileStorage, Description: "ours",
			MaxBytes: 1 << 20, Discard: jetstream.DiscardNew, MaxMsgSize: 4096, MaxAge: 24 * time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), "bloodbank.command.v1.x", []byte("not an event")); err != nil {
			t.Fatal(err)
		}
		b := dial(t, DialOptions{URL: s.URL(), MaxAge: time.Nanosecond})
		sent := confirm(t, b, 3)
		if got := drain(t, b, "g", 3); got[0].ID != sent[0].ID {
			t.Errorf("%+v came first", got[0])
		}
		if f := b.Features(); f.MaxMessage != 4096-headroom || f.DuplicateWindow != time.Hour {
			t.Errorf("features: %+v", f)
		}
		if _, err := b.purge(t.Context(), time.Now()); err != nil || stored(t, b) != 4 {
			t.Errorf("a stream of others was purged: %d stay, %v", stored(t, b), err)
		}
		found, err := js.Stream(t.Context(), Stream)
		if err != nil {
			t.Fatal(err)
		}
		if c := found.CachedInfo().Config; c.Description != "ours" || c.Duplicates != time.Hour || c.MaxAge != 24*time.Hour {
			t.Errorf("config: %+v", c)
		}
	})
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	user := func(name, permissions string) string {
		return `{ user: ` + name + `, password: "` + secret + `", permissions: { ` + permissions + ` } }`
	}
	users := strings.Join([]string{
		user("all", `publish: ["bloodbank.evt.v1.>", "$JS.API.>", "$JS.ACK.BLOODBANK_EVENTS.>"], subscribe: ["_INBOX.>"]`),
		user("noapi", `publish: ["bloodbank.>"], subscribe: [">"]`),
		user("noinbox", `publish: [">"], subscribe: ["mine.>"]`),
		user("some", `publish: ["bloodbank.evt.v1.good.>", "$JS.>"], subscribe: [">"]`),
	}, ", ")
	eachVersion(t, func(t *testing.T, o testenv.NATSOptions) {
		t.Parallel()
		o.Config = "authorization { users: [ " + users + " ] }"
		s := testenv.NATS(t, o)
		as := func(name string) DialOptions {
			return DialOptions{URL: "nats://" + name + ":" + secret + "@" + s.Addr()}
		}
		all := dial(t, as("all"))
		confirm(t, all, 2)
		drain(t, all, "g", 2)
		refuseDial(t, as("noapi"), "may not publish", "$JS.API.")
		refuseDial(t, as("noinbox"), "may not subscribe", "InboxPrefix")
		mine := as("noinbox")
		mine.InboxPrefix = "mine.inbox"
		confirm(t, dial(t, mine), 1)
		some := dial(t, as("some"))
		good, bad := newMessage(t), newMessage(t)
		good.Type = "good.thing.done"
		if err := retry(t, some, good); err != nil {
			t.Error(err)
		}
		start := time.Now()
		demandRefusal(t, retry(t, some, bad), "may not publish", SubjectPrefix+string(bad.Type))
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("told after %v; the server had said it at once", took)
		}
		demandRefusal(t, some.Check(t.Context()), "may not publish")
		if err := retry(t, some, good); err != nil {
			t.Errorf("one missing permission stops the others: %v", err)
		}
	})
}

func TestTakesAll(t *testing.T) {
	t.Parallel()
	for subject, want := range map[string]bool{
		">": true, "bloodbank.>": true, "bloodbank.evt.v1.>": true, "*.evt.*.>": true, "bloodbank.*.v1.>": true,
		"bloodbank.evt.v1.*": false, "bloodbank.evt.v1.x.>": false, "bloodbank.evt.>": true, "bloodbank.evt.v1": false,
		"orders.>": false, "bloodbank.evt.v2.>": false, "bloodbank": false, "": false,
	} {
		if got := takesAll(subject); got != want {
			t.Errorf("%q: %v", subject, got)
		}
	}
}

// TestTrapEvictionIsAlarmed: limits say so before they are reached.
func TestTrapEvictionIsAlarmed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := jetstream.StreamConfig{MaxBytes: 100, MaxMsgs: 1000, MaxAge: 10 * time.Hour}
	state := jetstream.StreamState{Bytes: 79, Msgs: 10, FirstSeq: 5, FirstTime: now.Add(-7 * time.Hour)}
	if w := warnings(c, state, 5, now); len(w) != 0 {
		t.Errorf("below the limits: %q", w)
	}
	state.Bytes, state.Msgs, state.FirstTime = 80, 900, now.Add(-9*time.Hour)
	w := strings.Join(warnings(c, state, 5, now), "\n")
	for _, want := range []string{"max_bytes is used up to 80 %", "max_msgs is used up to 90 %", "max_age 10h"} {
		if !strings.Contains(w, want) {
			t.Errorf("%q is missing in %q", want, w)
		}
	}
	if w := warnings(jetstream.StreamConfig{MaxAge: 10 * time.Hour}, state, 15, now); len(w) != 0 {
		t.Errorf("all is read: %q", w)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDeniedEventsLeaveTheStreamAlone: a permission that one event misses says
// nothing about the stream, whenever the server reports it.
func TestDeniedEventsLeaveTheStreamAlone(t *testing.T) {
	t.Parallel()
	deny := func(subject string) error {
		return fmt.Errorf("%w: Permissions Violation for Publish to %q", nats.ErrPermissionViolation, subject)
	}
	gaveUp := 0
	b := &Bus{far: &remote{giveUp: func() { gaveUp++ }}}
	b.farComplained(deny(SubjectPrefix + "test.message.sent"))
	if gaveUp != 0 || b.far.unheard != nil || b.far.denied == nil {
		t.Errorf("a denied event ends the look: %d times; %v, %v", gaveUp, b.far.unheard, b.far.denied)
	}
	b.farComplained(deny("$JS.API.STREAM.INFO." + Stream))
	if gaveUp != 1 {
		t.Errorf("the look gave up %d times; its own request was denied", gaveUp)
	}
	demandRefusal(t, b.far.unheard, "may not publish", "$JS.API.")
	b.far.lost(nil)
	if b.far.denied != nil {
		t.Error("a lost connection keeps what its permissions were")
	}
}
