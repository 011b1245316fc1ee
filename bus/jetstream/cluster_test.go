package jetstream

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank/bus/bustest"
	"github.com/33god/bloodbank/internal/testenv"
)

func urls(all []*testenv.NATSServer) string {
	var list []string
	for _, s := range all {
		list = append(list, s.URL())
	}
	return strings.Join(list, ",")
}

// TestSuiteCluster runs the suite on three servers with three replicas. All rows
// share the cluster and its stream, one after the other, and each begins with an
// empty one.
func TestSuiteCluster(t *testing.T) {
	eachVersion(t, func(t *testing.T, o testenv.NATSOptions) {
		all := testenv.NATSCluster(t, 3, o)
		turn := make(chan struct{}, 1)
		bustest.Run(t, bustest.Harness{Open: func(t *testing.T) bustest.Broker {
			turn <- struct{}{}
			t.Cleanup(func() { <-turn })
			way := testenv.NewProxy(t, all[0].Addr())
			d := DialOptions{URL: "nats://" + way.Addr(), ackWait: 5 * time.Second}
			b := dial(t, d)
			ready(t, b)
			wipe(t, b)
			if n := b.far.found().Replicas; n != 3 {
				t.Fatalf("the stream has %d replicas in a cluster of three", n)
			}
			return bustest.Broker{
				Driver: b,
				Restart: func(t *testing.T) bustest.Driver {
					closeBus(t, b)
					for _, s := range all { // a rolling one, as administrators do it
						s.Restart()
						s.AwaitHealth()
					}
					b := dial(t, d)
					ready(t, b)
					return b
				},
				Freeze: func(*testing.T) func() {
					way.Stall(testenv.ToClient)
					return way.Heal
				},
			}
		}})
	})
}

// wipe empties the stream and forgets its groups. Servers hear of a new stream one
// after the other, so it first waits until ours sends there.
func wipe(t *testing.T, b *Bus) {
	t.Helper()
	persist(t, b, newMessages(t, 1))
	testenv.Eventually(t, "the stream is empty", func() bool {
		s, err := b.js.Stream(t.Context(), Stream)
		if err != nil {
			return false
		}
		names := s.ConsumerNames(t.Context())
		for name := range names.Name() {
			err = errors.Join(err, s.DeleteConsumer(t.Context(), name))
		}
		return errors.Join(err, s.Purge(t.Context())) == nil
	})
}

// TestClusterLosesServers: with three replicas each server may die, one at a
// time, the one that we use and the stream's leader included.
func TestClusterLosesServers(t *testing.T) {
	eachVersion(t, func(t *testing.T, o testenv.NATSOptions) {
		all := testenv.NATSCluster(t, 3, o)
		b := dial(t, impatient(urls(all)))
		ready(t, b)
		sent := newMessages(t, 400)
		persist(t, b, sent[:100])
		for i, s := range all {
			if i%2 == 0 {
				s.Kill()
			} else {
				s.Freeze()
			}
			persist(t, b, sent[100*(i+1):100*(i+2)])
			s.Thaw()
			s.Start()
			s.AwaitHealth()
		}
		allOnce(t, b, "g", sent)
	})
}
