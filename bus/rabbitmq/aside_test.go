package rabbitmq

import (
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/internal/testenv"
)

// Who binds to the exchange aside gets the message; a queue bound to all events
// does not.
func TestPublishAside(t *testing.T) {
	r := testenv.RabbitMQ(t)
	b := open(t, Options{URL: r.URL(), Groups: []string{"recorder"}})
	m := newMessage(t)
	if err := b.PublishAside(t.Context(), m); bloodbank.CodeOf(err) != bloodbank.CodeNotFound {
		t.Fatalf("nobody is bound: %v", err)
	}
	ch := raw(t, r.URL())
	if _, err := ch.QueueDeclare("sandbox", false, true, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind("sandbox", "test.#", "bloodbank.replay.v1", false, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.PublishAside(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got, ok, err := ch.Get("sandbox", true)
	if err != nil || !ok || got.MessageId != m.ID.String() || got.RoutingKey != string(m.Type) || string(got.Body) != string(m.Data) {
		t.Fatalf("%+v, %v, %v", got, ok, err)
	}
	events := confirm(t, b, 1)
	if all := drain(t, b, "recorder", 1); all[0].ID != events[0].ID {
		t.Fatalf("the recorder got %s", all[0].ID)
	}
}
