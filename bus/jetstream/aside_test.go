package jetstream

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/33god/bloodbank"
)

// Who binds to the place aside gets the message, and the stream does not.
func TestPublishAside(t *testing.T) {
	t.Parallel()
	b := open(t, Options{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	c, err := nats.Connect(b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := make(chan *nats.Msg, 1)
	if _, err := c.ChanSubscribe("bloodbank.replay.v1.>", got); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	m := newMessage(t)
	m.Parent = newMessage(t).ID
	if err := b.PublishAside(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	msg := receive(t, got)
	if msg.Subject != "bloodbank.replay.v1."+string(m.Type) || string(msg.Data) != string(m.Data) ||
		msg.Header.Get("Nats-Msg-Id") != m.ID.String() || msg.Header.Get("Bb-Parent") != m.Parent.String() {
		t.Fatalf("%s %v %s", msg.Subject, msg.Header, msg.Data)
	}
	events := confirm(t, b, 1)
	if all := drain(t, b, "all", 1); all[0].ID != events[0].ID {
		t.Fatalf("the stream holds %s", all[0].ID)
	}
	m.Type = "no subject"
	if err := b.PublishAside(t.Context(), m); err == nil {
		t.Fatal("a type that is no subject was sent")
	}
}

func TestPublishAsideNeedsADoor(t *testing.T) {
	t.Parallel()
	b := open(t, Options{Dir: t.TempDir()})
	if err := b.PublishAside(t.Context(), newMessage(t)); bloodbank.CodeOf(err) != bloodbank.CodeUnsupported {
		t.Fatal(err)
	}
}
