package rabbitmq

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/internal/testenv"
)

// The properties on the wire: exactly those of the original, and the
// correlation id that it meant to set.
func TestTrapPropertiesByteForByte(t *testing.T) {
	t.Parallel()
	got := make(chan stubMessage, 2)
	s := (&stub{publish: func(c *stubConn, m stubMessage) {
		got <- m
		c.confirm(m.channel, m.tag, false)
	}}).serve(t, nil)
	b := open(t, Options{URL: s.url()})
	const contentType, encoding, persistent, correlation, id = 1 << 15, 1 << 14, 1 << 12, 1 << 10, 1 << 7
	m := newMessage(t)
	if err := result(t, b, m); err != nil {
		t.Fatal(err)
	}
	common := contentType | encoding | persistent | id
	want := header(len(m.Data), uint16(common), short("application/json"), short("utf-8"), byte(2), short(m.ID.String()))
	g := receive(t, got)
	if !bytes.Equal(g.header, want) {
		t.Errorf("header %q, want %q", g.header, want)
	}
	if !g.mandatory || g.exchange != DefaultExchange || g.key != string(m.Type) || !bytes.Equal(g.body, m.Data) {
		t.Errorf("published as %+v", g)
	}
	m.Parent = newMessage(t).ID
	if err := result(t, b, m); err != nil {
		t.Fatal(err)
	}
	want = header(len(m.Data), uint16(common|correlation), short("application/json"), short("utf-8"), byte(2),
		short(m.Parent.String()), short(m.ID.String()))
	if g := receive(t, got); !bytes.Equal(g.header, want) {
		t.Errorf("header %q, want %q", g.header, want)
	}
}

// A consumer of the original: a durable queue of its own, bound with a pattern.
func TestConsumerOfTheOriginal(t *testing.T) {
	r := testenv.RabbitMQ(t)
	ch := raw(t, r.URL())
	if err := ch.ExchangeDeclare(DefaultExchange, "topic", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("candystore.storage", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind("candystore.storage", "test.#", DefaultExchange, false, nil); err != nil {
		t.Fatal(err)
	}
	from, err := ch.Consume("candystore.storage", "", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := open(t, Options{URL: r.URL()}) // its queue takes the message, so none of ours is needed
	m := newMessage(t)
	m.Parent = newMessage(t).ID
	if err := result(t, b, m); err != nil {
		t.Fatal(err)
	}
	d := receive(t, from)
	want := amqp.Delivery{
		ContentType: "application/json", ContentEncoding: "utf-8", DeliveryMode: 2,
		MessageId: m.ID.String(), CorrelationId: m.Parent.String(), Body: m.Data,
		Exchange: DefaultExchange, RoutingKey: string(m.Type), DeliveryTag: 1,
	}
	d.Acknowledger, d.ConsumerTag = nil, ""
	if !reflect.DeepEqual(d, want) {
		t.Errorf("it gets %+v, want %+v", d, want)
	}
}

// A producer of the original, and others that anybody may write: everything is
// delivered and nothing is refused.
func TestProducersOfOthers(t *testing.T) {
	r := testenv.RabbitMQ(t)
	b := open(t, Options{URL: r.URL(), Groups: []string{"recorder"}})
	ch := raw(t, r.URL())
	envelope := firstEnvelope(t)
	e, err := bloodbank.DecodeEnvelope(envelope)
	if err != nil {
		t.Fatal(err)
	}
	id := e.EventID.String()
	original := amqp.Publishing{MessageId: id, ContentType: "application/json", ContentEncoding: "utf-8", DeliveryMode: 2, Body: envelope}
	bare := amqp.Publishing{Body: envelope} // its id stands in the envelope only
	odd := amqp.Publishing{MessageId: "task-7", CorrelationId: "x", Headers: amqp.Table{"a": int32(1)}, Timestamp: time.Unix(1, 0), Body: []byte("plain text")}
	for _, p := range []amqp.Publishing{original, bare, odd, {}} {
		if err := ch.Publish(DefaultExchange, string(e.EventType), true, false, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := ch.Publish(DefaultExchange, "No Type!", true, false, original); err != nil {
		t.Fatal(err)
	}
	got := drain(t, b, "recorder", 5)
	for i, wantID := range []bloodbank.EventID{e.EventID, e.EventID, {}, {}, e.EventID} {
		if got[i].ID != wantID || got[i].Attempt != 1 || !got[i].Parent.IsZero() {
			t.Errorf("delivery %d is %+v, want id %s", i, got[i], wantID)
		}
	}
	if back, err := bloodbank.DecodeEnvelope(got[0].Data); err != nil || back.EventID != e.EventID || got[0].Type != e.EventType {
		t.Errorf("the original's message reads as %+v, %v", back, err)
	}
	if got[4].Type != "No Type!" || string(got[2].Data) != "plain text" || len(got[3].Data) != 0 {
		t.Errorf("%+v", got)
	}
}

// firstEnvelope is a message body as the original publishes it.
func firstEnvelope(t *testing.T) []byte {
	t.Helper()
	all, err := os.ReadFile(filepath.Join("testdata", "original.json"))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(all)
}

func TestAttempt(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		d    amqp.Delivery
		want int
	}{
		{amqp.Delivery{}, 1},
		{amqp.Delivery{Redelivered: true}, 2}, // all that a classic queue says
		{amqp.Delivery{Headers: amqp.Table{"x-delivery-count": int64(4)}, Redelivered: true}, 5},
		{amqp.Delivery{Headers: amqp.Table{"x-delivery-count": "many"}}, 1},
	} {
		if got := attempt(&row.d); got != row.want {
			t.Errorf("%+v: attempt %d, want %d", row.d, got, row.want)
		}
	}
}

// AMQP's routing key ends at 255 bytes; one byte more would end the connection.
func TestTrapRoutingKeyLength(t *testing.T) {
	t.Parallel()
	s := (&stub{}).serve(t, nil)
	b := open(t, Options{URL: s.url()})
	m := newMessage(t)
	m.Type = bloodbank.EventType("a." + strings.Repeat("b", 254))
	if err := result(t, b, m); err == nil {
		t.Error("256 bytes went out")
	}
	m.Type = bloodbank.EventType("a." + strings.Repeat("b", bloodbank.MaxTypeLength-2))
	if err := result(t, b, m); err != nil {
		t.Errorf("the longest type: %v", err)
	}
	if s.connections() != 1 {
		t.Error("the connection was lost")
	}
}
