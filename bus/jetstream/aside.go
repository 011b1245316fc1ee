package jetstream

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
)

var _ bus.Sandbox = (*Bus)(nil)

// AsidePrefix comes before the event type in the subject of a message that is
// sent aside. It lies outside of our stream.
const AsidePrefix = "bloodbank.replay.v1."

// Aside implements [bus.Sandbox].
func (b *Bus) Aside() string {
	return "NATS subject " + AsidePrefix + "<event_type>, or all by " + AsidePrefix + ">; plain NATS, so subscribe first"
}

// PublishAside implements [bus.Sandbox]. The embedded bus has no door for other
// programs, and refuses.
func (b *Bus) PublishAside(ctx context.Context, m bus.Message) error {
	if b.isClosed() {
		return bus.ErrClosed
	}
	if b.server != nil && b.Addr() == "" {
		return bloodbank.Errorf(bloodbank.CodeUnsupported, "the embedded bus has no door, so nobody could listen to a sandbox; use a NATS server or RabbitMQ (bus.url, BB_BUS)")
	}
	if err := b.pub.check(m); err != nil {
		return err
	}
	out := nats.NewMsg(AsidePrefix + string(m.Type))
	out.Data = m.Data
	out.Header.Set(headerID, m.ID.String())
	out.Header.Set(headerType, contentType)
	if !m.Parent.IsZero() {
		out.Header.Set(headerParent, m.Parent.String())
	}
	if m.Encoding != "" {
		out.Header.Set(headerEncoding, m.Encoding)
	}
	if err := b.conn.PublishMsg(out); err != nil {
		return fmt.Errorf("jetstream: cannot send: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := b.conn.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("jetstream: the server did not take it: %w", err)
	}
	return nil
}
