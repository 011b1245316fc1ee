package rabbitmq

import (
	"context"
	"slices"
	"testing"

	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/internal/testenv"
)

// A cancelled consumer keeps what it had received until its channel closes, and
// the next one begins behind that. So a member that leaves in the middle of the
// queue must not be cancelled: the one who takes over would get the rest of the
// queue first, and these messages after it.
func TestTrapCancelledConsumerKeepsItsMessages(t *testing.T) {
	r := testenv.RabbitMQ(t)
	for _, queueType := range []string{Quorum, Classic} {
		for range 3 {
			o := Options{URL: r.URL(), Groups: []string{"g"}, Exchange: queueType, QueueType: queueType, Prefetch: 50}
			leaving, staying := open(t, o), open(t, o)
			sent := confirm(t, leaving, 300)
			rest := make(chan []bus.Delivery, 1)
			ctx, leave := context.WithCancel(t.Context())
			err := leaving.Consume(ctx, bus.Consumer{Group: "g", MaxBatch: 10}, func(_ context.Context, batch []bus.Delivery) error {
				if batch[0].ID != sent[0].ID || len(batch) > 10 {
					t.Errorf("%d messages from %s on came first", len(batch), batch[0].ID)
				}
				sent = sent[len(batch):]
				go func() { rest <- drain(t, staying, "g", len(sent)) }()
				until(t, "the second consumer waits", func() bool { return standsBy(staying, "g") })
				leave()
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			got := receive(t, rest)
			if !slices.EqualFunc(got, sent, func(d bus.Delivery, m bus.Message) bool { return d.ID == m.ID }) {
				at := slices.IndexFunc(got, func(d bus.Delivery) bool { return d.ID == sent[0].ID })
				t.Errorf("%s: of %d messages the oldest came at place %d after the change", queueType, len(got), at)
			}
			closeBus(t, leaving)
			closeBus(t, staying)
		}
	}
}

// standsBy says whether the broker knows b as a consumer of the group.
func standsBy(b *Bus, group string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.groups[group]
	return g != nil && len(g.members) == 1
}
