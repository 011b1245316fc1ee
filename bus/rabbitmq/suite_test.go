package rabbitmq

import (
	"context"
	"sync"
	"testing"

	"github.com/33god/bloodbank/bus/bustest"
	"github.com/33god/bloodbank/internal/testenv"
)

// TestSuite and its like are not parallel with other tests: they restart the
// server that all share.
func TestSuiteQuorum(t *testing.T) { suite(t, Options{QueueType: Quorum}) }

func TestSuiteClassic(t *testing.T) { suite(t, Options{QueueType: Classic}) }

func suite(t *testing.T, o Options) {
	// Rows hold it for reading; a restart waits until no other row is at work.
	var server sync.RWMutex
	var admin sync.Mutex
	bustest.Run(t, bustest.Harness{Open: func(t *testing.T) bustest.Broker {
		server.RLock()
		t.Cleanup(server.RUnlock)
		// The server's administration answers one question at a time.
		admin.Lock()
		t.Cleanup(admin.Unlock)
		r := testenv.RabbitMQ(t)
		admin.Unlock()
		t.Cleanup(admin.Lock)
		way := testenv.NewProxy(t, r.Addr())
		o := o
		o.URL = r.URLAt(way.Addr())
		b := open(t, o)
		return bustest.Broker{
			Driver:  b,
			Declare: func(t *testing.T, groups ...string) { declare(t, b, groups...) },
			Restart: func(t *testing.T) bustest.Driver {
				closeBus(t, b)
				server.RUnlock()
				server.Lock()
				r.Restart()
				server.Unlock()
				server.RLock()
				return open(t, o)
			},
			Freeze: func(*testing.T) func() {
				way.Stall(testenv.ToClient)
				return way.Heal
			},
		}
	}})
}

// declare makes the queues of groups, as Options.Groups does.
func declare(t testing.TB, b *Bus, groups ...string) {
	t.Helper()
	c, err := b.publishing.await(t.Context())
	if err == nil {
		err = b.declare(context.WithoutCancel(t.Context()), c, groups...)
	}
	if err != nil {
		t.Fatal(err)
	}
}
