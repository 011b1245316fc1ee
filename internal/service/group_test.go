package service_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank/internal/service"
)

// journal records what happens, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) check(t *testing.T, want ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Equal(j.lines, want) {
		t.Errorf("got %q, want %q", j.lines, want)
	}
}

// part is a resource that writes into the journal.
func part(j *journal, name string, startErr error) service.Service {
	return service.NewResource(name, func(context.Context) error {
		if startErr == nil {
			j.add("+" + name)
		}
		return startErr
	}, func(context.Context) error {
		j.add("-" + name)
		return nil
	})
}

func TestGroupStartsInOrderAndStopsInReverse(t *testing.T) {
	t.Parallel()
	var j journal
	g := service.NewGroup("bb", 0, part(&j, "wal", nil), part(&j, "bus", nil), part(&j, "http", nil))
	for range 2 {
		if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := g.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	<-g.Done()
	if err := g.Wait(t.Context()); err != nil {
		t.Errorf("Wait after Stop = %v", err)
	}
	j.check(t, "+wal", "+bus", "+http", "-http", "-bus", "-wal")
}

func TestGroupUndoesAFailedStart(t *testing.T) {
	t.Parallel()
	var j journal
	broken := errors.New("port taken")
	g := service.NewGroup("bb", 0, part(&j, "wal", nil), part(&j, "bus", nil), part(&j, "http", broken), part(&j, "live", nil))
	err := g.Start(t.Context())
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "start http") {
		t.Errorf("Start = %v", err)
	}
	if err := g.Stop(t.Context()); err != nil {
		t.Errorf("Stop = %v", err)
	}
	j.check(t, "+wal", "+bus", "-bus", "-wal")
}

func TestGroupReportsADeath(t *testing.T) {
	t.Parallel()
	var j journal
	broken := errors.New("connection lost")
	die := make(chan struct{})
	mortal := service.NewLoop("recorder", func(_ context.Context, ready func()) error {
		ready()
		<-die
		return broken
	})
	g := service.NewGroup("bb", 0, part(&j, "wal", nil), mortal, part(&j, "http", nil))
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Wait(ended); err != nil || g.Err() != nil {
		t.Errorf("before the death: Wait %v, Err %v", err, g.Err())
	}
	close(die)
	if err := g.Wait(t.Context()); !errors.Is(err, broken) || !errors.Is(err, service.ErrEnded) || !strings.Contains(err.Error(), "recorder") {
		t.Errorf("Wait = %v", err)
	}
	j.check(t, "+wal", "+http") // a death stops nobody else
	if err := g.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := g.Err(); !errors.Is(err, broken) {
		t.Errorf("Err after Stop = %v", err)
	}
	j.check(t, "+wal", "+http", "-http", "-wal")
}

func TestGroupGivesEachServiceItsGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		release := make(chan struct{})
		stuck := func(name string) service.Service {
			return service.NewLoop(name, func(_ context.Context, ready func()) error {
				ready()
				<-release
				return nil
			})
		}
		g := service.NewGroup("bb", 5*time.Second, part(&j, "wal", nil), stuck("bus"), stuck("http"))
		if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err := g.Stop(t.Context())
		if err == nil || !strings.Contains(err.Error(), "bus did not stop") || !strings.Contains(err.Error(), "http did not stop") || !strings.Contains(err.Error(), "5s") {
			t.Errorf("Stop = %v, want both names and the period", err)
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("Stop took %s, want two periods of 5s", took)
		}
		j.check(t, "+wal", "-wal")
		close(release)
	})
}

// checked is a service with a health probe.
type checked struct {
	service.Service
	check func() error
}

func (c checked) Check(context.Context) error { return c.check() }

func TestGroupWaitsForTheHealthProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		asked := 0
		slow := checked{part(&j, "bus", nil), func() error {
			if asked++; asked < 4 {
				return errors.New("not yet")
			}
			j.add("healthy")
			return nil
		}}
		g := service.NewGroup("bb", 0, slow, part(&j, "http", nil))
		if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		j.check(t, "+bus", "healthy", "+http")
		if err := g.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestGroupGivesUpOnASickService(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		sick := errors.New("no quorum")
		g := service.NewGroup("bb", 0, part(&j, "wal", nil), checked{part(&j, "bus", nil), func() error { return sick }}, part(&j, "http", nil))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := g.Start(ctx)
		if !errors.Is(err, sick) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "start bus") {
			t.Errorf("Start = %v", err)
		}
		j.check(t, "+wal", "+bus", "-bus", "-wal")
	})
}

func TestGroupStopInterruptsAStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		never := service.NewLoop("model", func(ctx context.Context, _ func()) error {
			<-ctx.Done()
			return ctx.Err()
		})
		g := service.NewGroup("bb", 0, part(&j, "wal", nil), never)
		started := make(chan error, 1)
		go func() { started <- g.Start(t.Context()) }()
		synctest.Wait()
		if err := g.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-started; !errors.Is(err, service.ErrStop) {
			t.Errorf("Start = %v, want ErrStop", err)
		}
		j.check(t, "+wal", "-wal")
	})
}

func TestGroupStress(t *testing.T) {
	t.Parallel()
	var inside, opened atomic.Int32
	g := service.NewGroup("bb", time.Minute,
		service.NewResource("wal", func(context.Context) error { opened.Add(1); return nil }, func(context.Context) error { opened.Add(-1); return nil }),
		service.NewLoop("loop", obedient(&inside)))
	stress(t, g, &inside)
	if n := opened.Load(); n != 0 {
		t.Errorf("%d resources are left open", n)
	}
}
