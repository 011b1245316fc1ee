package jetstream

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/bus/bustest"
	"github.com/33god/bloodbank/internal/testenv"
)

// modern runs the server of the version that is embedded.
func modern(config string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=nats-server "+config)
	return cmd
}

// eachVersion runs a test on the embedded version as a server of its own, and on
// Debian's, where such may be started.
func eachVersion(t *testing.T, test func(*testing.T, testenv.NATSOptions)) {
	t.Helper()
	t.Run("modern", func(t *testing.T) { test(t, testenv.NATSOptions{Program: modern}) })
	t.Run("debian", func(t *testing.T) { test(t, testenv.NATSOptions{}) })
}

// impatient options make faults show soon.
func impatient(url string) DialOptions {
	return DialOptions{
		URL: url, ConfirmTimeout: 500 * time.Millisecond, DialTimeout: time.Second, ReconnectMax: 100 * time.Millisecond,
		Window: 64, ackWait: 2 * time.Second,
	}
}

// dial opens a bus on servers elsewhere, that is closed with t.
func dial(t testing.TB, o DialOptions) *Bus {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	b, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBus(t, b) })
	return b
}

// ready waits until events may be sent.
func ready(t testing.TB, b *Bus) {
	t.Helper()
	testenv.Eventually(t, "the bus is ready", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return b.Check(ctx) == nil
	})
}

func TestSuiteExternal(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, o testenv.NATSOptions) {
		t.Parallel()
		bustest.Run(t, bustest.Harness{Open: func(t *testing.T) bustest.Broker {
			s := testenv.NATS(t, o)
			way := testenv.NewProxy(t, s.Addr())
			d := DialOptions{URL: "nats://" + way.Addr(), ackWait: 5 * time.Second}
			b := dial(t, d)
			var _ bus.Recaller = b
			return bustest.Broker{
				Driver:  b,
				Forgets: true, // until AckWait, see docs/guarantees.md
				Restart: func(t *testing.T) bustest.Driver {
					closeBus(t, b)
					s.Restart()
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
