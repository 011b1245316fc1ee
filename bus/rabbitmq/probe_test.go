package rabbitmq

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/33god/bloodbank/internal/testenv"
)

// explained demands an error that says all words and no password.
func explained(t *testing.T, err error, refused bool, words ...string) {
	t.Helper()
	if err == nil || errors.Is(err, ErrRefused) != refused {
		t.Errorf("%v; refused: %t, want %t", err, errors.Is(err, ErrRefused), refused)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not in: %v", w, err)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the password is in: %v", err)
	}
}

// names are the exchanges of ours and the queues on the virtual host.
func names(r *testenv.Rabbit) string {
	return r.Eval(`V = <<"` + r.VHost() + `">>, {[element(4, element(2, Q)) || Q <- rabbit_amqqueue:list(V)], ` +
		`[N || {resource, _, exchange, N} <- [element(2, X) || X <- rabbit_exchange:list(V)], binary:match(N, <<"amq.">>) =:= nomatch, N =/= <<>>]}`)
}

func TestProbeMakesNothing(t *testing.T) {
	r := testenv.RabbitMQ(t)
	for _, queueType := range []string{Quorum, Classic} {
		o := Options{URL: r.URL(), Groups: []string{"recorder"}, QueueType: queueType}
		before := names(r)
		if err := Probe(t.Context(), o); err != nil {
			t.Errorf("%s, nothing there yet: %v", queueType, err)
		}
		if after := names(r); after != before || !strings.HasPrefix(before, "{[]") {
			t.Errorf("before %s, after %s", before, after)
		}
	}
	o := Options{URL: r.URL(), Groups: []string{"recorder"}}
	b := open(t, o)
	sent := confirm(t, b, 3)
	before := names(r)
	for range 3 {
		if err := Probe(t.Context(), o); err != nil {
			t.Errorf("all there: %v", err)
		}
	}
	if after := names(r); after != before {
		t.Errorf("before %s, after %s", before, after)
	}
	for i, d := range drain(t, b, "recorder", 3) {
		if d.ID != sent[i].ID || d.Attempt != 1 {
			t.Errorf("message %d after the probe: %+v", i, d)
		}
	}
	if n, err := b.Lag(t.Context(), "recorder"); err != nil || n != 0 {
		t.Errorf("lag %d, %v: something was sent", n, err)
	}
}

func TestProbeNamesTheSetting(t *testing.T) {
	r := testenv.RabbitMQ(t)
	at := r.Addr()
	probe := func(o Options) error {
		if o.URL == "" {
			o.URL = r.URL()
		}
		o.DialTimeout = 3 * time.Second
		return Probe(t.Context(), o)
	}
	group := []string{"recorder"}
	r.AddUser("bb-none", "secret-1", "", "", "")
	explained(t, probe(Options{URL: r.URLAs(at, "bb-none", "secret-2")}), true, "bus.url", "BB_BUS", "RABBIT_URL", `"bb-none"`, "password")
	explained(t, probe(Options{URL: "amqp://bb:bb-secret@" + at + "/elsewhere"}), true, "bus.url", `"elsewhere"`, "set_permissions")
	explained(t, probe(Options{URL: "amqps://bb:bb-secret@" + at + "/"}), true, "bus.url", "amqp://")
	explained(t, probe(Options{URL: "amqp://bb:sec ret@h"}), false, "bus.url", "percent-encoded")
	// Nothing is there, and nothing may be made: all of it in one answer.
	none := r.URLAs(at, "bb-none", "secret-1")
	explained(t, probe(Options{URL: none, Groups: group}), true, DefaultExchange, "EXCHANGE_NAME", "bloodbank.recorder", "set_permissions")

	open(t, Options{URL: r.URL(), Groups: group})
	open(t, Options{URL: r.URL(), Exchange: "c", Groups: group, QueueType: Classic})
	if err := raw(t, r.URL()).ExchangeDeclare("fan", "fanout", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	explained(t, probe(Options{Exchange: "fan"}), true, `"fan"`, "rabbit.exchange", "EXCHANGE_NAME", "topic")
	explained(t, probe(Options{Exchange: "c", Groups: group}), true, `"c.recorder"`, "bus.queue_type", "BB_BUS_QUEUE_TYPE", "delete_queue")
	for _, right := range []struct {
		configure, write, read string
		words                  []string
	}{
		{".*", "", ".*", []string{"publish", "grant write", "bind"}},
		{".*", "^bloodbank.recorder$", ".*", []string{"publish", "grant write"}},
		{".*", "^bloodbank.events", ".*", []string{"may not bind", "grant write"}},
		{".*", ".*", "^bloodbank.recorder$", []string{"may not bind", "read on the exchange"}},
		{".*", ".*", "^bloodbank.events", []string{"may not read queue", "grant read"}},
		{"", ".*", "", []string{"may not read queue"}},
	} {
		r.AddUser("bb-some", "secret-3", right.configure, right.write, right.read)
		explained(t, probe(Options{URL: r.URLAs(at, "bb-some", "secret-3"), Groups: group}), true, right.words...)
	}
	r.AddUser("bb-user", "secret-4", "", "^bloodbank.events", "^bloodbank.recorder$")
	if err := probe(Options{URL: r.URLAs(at, "bb-user", "secret-4"), Groups: group}); err != nil {
		t.Errorf("one who may use what is there: %v", err)
	}
	r.AddUser("bb-maker", "secret-5", ".*", ".*", ".*")
	if err := probe(Options{URL: r.URLAs(at, "bb-maker", "secret-5"), Exchange: "new", Groups: group}); err != nil {
		t.Errorf("one who may make what is not there: %v", err)
	}
}

func TestProbeOfABlockedBroker(t *testing.T) {
	r := testenv.RabbitMQ(t)
	o := Options{URL: r.URL(), Groups: []string{"recorder"}}
	open(t, o)
	r.Block()
	defer r.Unblock()
	if err := Probe(t.Context(), o); !errors.Is(err, ErrBlocked) || errors.Is(err, ErrRefused) {
		t.Errorf("%v, want ErrBlocked", err)
	}
	r.Unblock()
	if err := Probe(t.Context(), o); err != nil {
		t.Error(err)
	}
}

// What is not there at all may come; what is there and no RabbitMQ will not.
func TestDownIsNotRefused(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = nobody.Close()
	web := httptest.NewTLSServer(nil)
	t.Cleanup(web.Close)
	for _, row := range []struct {
		name    string
		url     string
		refused bool
		words   []string
	}{
		{"nobody listens", "amqp://u:secret@" + nobody.Addr().String(), false, []string{"bus.url", nobody.Addr().String()}},
		{"no such host", "amqp://u:secret@no-such-host.invalid/", false, []string{"bus.url", "no-such-host.invalid"}},
		{"silence", "amqp://u:secret@" + silent.Addr().String(), false, []string{"bus.url", "no RabbitMQ"}},
		{"hangs up", "amqp://u:secret@" + says(t, ""), false, []string{"bus.url", "no RabbitMQ"}},
		{"another protocol", "amqp://u:secret@" + says(t, "INFO {\"server_id\":\"N\"}\r\n"), true, []string{"bus.url", "5672", "no RabbitMQ"}},
		{"AMQP 1.0", "amqp://u:secret@" + says(t, "AMQP\x00\x01\x00\x00"), true, []string{"bus.url", "0-9-1"}},
		{"TLS", "amqp://u:secret@" + web.Listener.Addr().String(), false, []string{"bus.url", "amqps://"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			o := Options{URL: row.url, DialTimeout: patience, ReconnectMax: time.Millisecond}
			if row.name == "silence" {
				o.DialTimeout = time.Second
			}
			explained(t, Probe(t.Context(), o), row.refused, row.words...)
			if row.refused {
				refusedWith(t, o, row.words...)
				return
			}
			b := open(t, o) // comes up all the same
			explained(t, b.Check(t.Context()), false, row.words...)
		})
	}
}

// says starts a server that greets everybody with text and hangs up.
func says(t *testing.T, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(text)) // the client may have gone
			_, _ = c.Read(make([]byte, 8))
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-over })
	return l.Addr().String()
}

// A broker that accepts what it must not take leaves nothing behind.
func TestProbeOfABrokerThatTakesNonsense(t *testing.T) {
	t.Parallel()
	s := (&stub{refuse: func(m stubMethod) (uint16, string) {
		if m.class == 40 && m.bits&1 == 1 {
			return 404, "NOT_FOUND"
		}
		return 0, ""
	}}).serve(t, nil)
	if err := Probe(t.Context(), Options{URL: s.url(), Groups: []string{"g"}}); err != nil {
		t.Error(err)
	}
	if got := s.removed(); !slices.Equal(got, []string{DefaultExchange, "bloodbank.g"}) {
		t.Errorf("removed %q", got)
	}
}

// TLS with an authority of our own, and a certificate for each side, on a real
// server.
func TestTLSOfARealServer(t *testing.T) {
	pki := newAuthority(t)
	port := testenv.FreePort(t)
	files := pki.issue(t, "127.0.0.1")
	r := testenv.PrivateRabbitMQ(t,
		"listeners.ssl.local = 127.0.0.1:"+port,
		"ssl_options.cacertfile = "+pki.file, "ssl_options.certfile = "+files.cert, "ssl_options.keyfile = "+files.key,
		"ssl_options.verify = verify_peer", "ssl_options.fail_if_no_peer_cert = true")
	client := pki.issue(t, "client")
	url := "amqps" + strings.TrimPrefix(r.URLAt("127.0.0.1:"+port), "amqp")
	pair, err := tls.LoadX509KeyPair(client.cert, client.key)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{RootCAs: pki.pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	o := Options{URL: url, TLS: config, Groups: []string{"g"}}
	if err := Probe(t.Context(), o); err != nil {
		t.Error(err)
	}
	b := open(t, o)
	sent := confirm(t, b, 50)
	for i, d := range drain(t, b, "g", 50) {
		if d.ID != sent[i].ID {
			t.Fatalf("message %d is another one", i)
		}
	}
	confirm(t, open(t, Options{URL: url + "?cacertfile=" + pki.file + "&certfile=" + client.cert + "&keyfile=" + client.key, Groups: []string{"g"}}), 1)
	refusedWith(t, Options{URL: url}, "not trusted", "bus.ca", "BB_BUS_CA")
	refusedWith(t, Options{URL: url, TLS: &tls.Config{RootCAs: newAuthority(t).pool, MinVersion: tls.VersionTLS12}}, "not trusted", "bus.ca")
	refusedWith(t, Options{URL: url, TLS: &tls.Config{RootCAs: pki.pool, ServerName: "elsewhere", MinVersion: tls.VersionTLS12}}, "not trusted")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		refusedWith(t, Options{URL: url, TLS: &tls.Config{RootCAs: pki.pool, MinVersion: version, MaxVersion: version}}, "bus.cert", "BB_BUS_KEY")
	}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	for property, want := range map[string]string{
		"": "", "utf-8": "", "UTF-8": "", "latin1": "", "identity": "", "gzip": "gzip", "GZIP": "gzip", "x-gzip": "gzip", "zstd": "zstd",
	} {
		if got := delivery(&amqp.Delivery{ContentEncoding: property}).Encoding; got != want {
			t.Errorf("%q is read as %q, want %q", property, got, want)
		}
	}
	if got := contentEncoding(""); got != "utf-8" {
		t.Errorf("plain messages have %q", got)
	}
	m := newMessage(t)
	m.Encoding = "rot13"
	if err := newPublisher(Options{}.withDefaults()).check(m); err == nil || !strings.Contains(err.Error(), "rot13") {
		t.Errorf("an unknown encoding: %v", err)
	}
}

// A packed message keeps its encoding, and a plain one between has none.
func TestEncodingGoesThroughTheBroker(t *testing.T) {
	r := testenv.RabbitMQ(t)
	b := open(t, Options{URL: r.URL(), Groups: []string{"g"}})
	for i := range 6 {
		m := newMessage(t)
		if i%2 == 0 {
			m.Encoding, m.Data = "gzip", []byte{0x1f, 0x8b, 0, 255}
		}
		if err := result(t, b, m); err != nil {
			t.Fatal(err)
		}
	}
	for i, d := range drain(t, b, "g", 6) {
		if (d.Encoding == "gzip") != (i%2 == 0) || (d.Encoding == "") != (i%2 == 1) || (len(d.Data) == 4) != (i%2 == 0) {
			t.Errorf("message %d came as %q with %d bytes", i, d.Encoding, len(d.Data))
		}
	}
}
