package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/33god/bloodbank/client"
)

// run is one torture from its beginning to its end.
type run struct {
	o       Options
	names   names
	ways    []*way
	env     []string
	ledger  *ledger
	broken  violations
	report  Report
	began   time.Time
	flowing time.Time // since when

	publishers []*publisher
	child      *child // nil before the first start
	ended      bool   // the child was ended by us
	client     *client.Client
	meter      *meter

	scanned int64           // the store's sequence up to which was checked
	lanes   map[int32]int32 // of the scan
}

// Run tortures until the options' limit, and removes what it made. The report is
// whole where the error is nil, whatever its verdict. An error means that the
// torture could not begin or go on: wrong options, a program that does not start,
// a fault of the caller's that failed, or ctx's end; the report then holds what
// was found so far.
func Run(ctx context.Context, o Options) (Report, error) {
	r := &run{o: o.withDefaults(), began: time.Now(), lanes: make(map[int32]int32)}
	r.ledger = newLedger(&r.broken)
	r.ledger.loose = !ordered(o.Bus)
	err := r.prepare()
	if err == nil {
		err = r.all(ctx)
	}
	r.end(context.WithoutCancel(ctx), err)
	return r.report, err
}

// prepare checks the options, makes the folder, and opens the ways.
func (r *run) prepare() error {
	if len(r.o.Command) == 0 || r.o.Dir == "" {
		return fmt.Errorf("%w: Command and Dir are required", errOptions)
	}
	dir, err := filepath.Abs(r.o.Dir)
	if err != nil {
		return err
	}
	r.o.Dir = dir
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		return fmt.Errorf("%w: the folder %s is not empty; name another one, torture removes its own at the end", errOptions, dir)
	}
	isolation := Isolate(r.o)
	if isolation.Shared != "" && !r.o.Shared {
		return fmt.Errorf("%w: %s", errOptions, isolation.Shared)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if r.names, err = newNames(); err != nil {
		return err
	}
	r.names.alone = isolation.Shared == ""
	r.report = Report{Seed: r.o.Seed, Faults: map[string]int{}, Setup: r.setup(), Disk: examineDisk(dir, r.o.Beside, r.o.fsyncs)}
	if err := r.openWays(); err != nil {
		return err
	}
	r.env = r.names.environment(r.o, r.ways)
	for i := range r.o.Publishers {
		r.publishers = append(r.publishers, newPublisher(r.o, i, r.ledger))
	}
	r.meter = startMeter(r.o.samples)
	return nil
}

func (r *run) openWays() error {
	store := r.names.storeURL(r.o.Store)
	for _, t := range []struct{ target, address string }{
		{targetBus, r.o.Bus}, {targetStore, store}, {targetCorrelation, r.o.Correlation},
	} {
		w, note, err := openWay(t.target, t.address)
		if err != nil {
			return err
		}
		if note != "" {
			r.report.Notes = append(r.report.Notes, note)
		}
		r.ways = append(r.ways, w)
	}
	return nil
}

// targets are those whose way can be broken.
func (r *run) targets() []string {
	var list []string
	for _, w := range r.ways {
		if len(w.proxies) > 0 {
			list = append(list, w.target)
		}
	}
	return list
}

// all goes through the rounds.
func (r *run) all(ctx context.Context) error {
	if err := r.start(ctx); err != nil { // a set-up that cannot work is no finding
		return fmt.Errorf("torture: the program does not start: %w", err)
	}
	r.flowing = time.Now()
	for n := 0; n == 0 || !r.done(n); n++ {
		checked, err := r.next(ctx, n)
		if ctx.Err() == nil && r.child.gone() && !r.ended {
			r.broken.add("died", zero(), "bb up ended by itself: %v\n%s", r.child.err, r.child.output())
			return nil
		}
		if errors.Is(err, errSlow) {
			r.broken.add("stuck", zero(), "bb up does not come up again: %v", err)
			return nil
		}
		if err != nil {
			return fmt.Errorf("torture: round %d: %w", n+1, err)
		}
		if checked && r.broken.total() > 0 {
			break // the first broken promise is the one to look at
		}
	}
	r.stop()
	return nil
}

// next is one round, and the check behind it where that is due.
func (r *run) next(ctx context.Context, n int) (checked bool, err error) {
	plan := planRound(r.o, r.targets(), n)
	if err := r.round(ctx, plan); err != nil {
		return false, err
	}
	r.report.Rounds++
	for _, name := range plan.names() {
		r.report.Faults[name]++
	}
	last := r.done(n + 1)
	checked = last || n%r.o.Check == r.o.Check-1
	if checked {
		err = r.check(ctx, last)
	}
	_, accepted := r.ledger.counts()
	r.o.Progress(Progress{Round: n + 1, Rounds: r.o.Rounds, Faults: plan.names(), Accepted: accepted, Checked: checked, Broken: r.broken.total()})
	return checked, err
}

func (r *run) done(rounds int) bool {
	_, accepted := r.ledger.counts()
	return r.o.Rounds > 0 && rounds >= r.o.Rounds ||
		r.o.Duration > 0 && time.Since(r.flowing) >= r.o.Duration ||
		r.o.Events > 0 && accepted >= r.o.Events
}

// start starts the program, if it does not run, and waits until it serves.
func (r *run) start(ctx context.Context) error {
	switch {
	case r.child == nil:
	case !r.child.gone():
		return nil
	case !r.ended:
		return errEnded
	}
	if err := r.launch(); err != nil {
		return err
	}
	url, err := r.child.await(ctx, r.o.Patience)
	if err != nil {
		return err
	}
	r.report.SlowestStart = max(r.report.SlowestStart, Milliseconds(time.Since(r.child.began)))
	r.client, err = client.New(url, client.Options{UserAgent: appName})
	return err
}

func (r *run) launch() (err error) {
	if r.client != nil {
		r.client.Close()
	}
	r.child, err = startChild(r.o, r.env)
	if r.ended = false; err == nil {
		r.meter.watch(r.child)
	}
	return err
}

// round does what is planned while events flow. Afterwards all ways are healed.
func (r *run) round(ctx context.Context, plan round) error {
	for _, s := range plan.steps {
		if s.kind == wayDown {
			r.breaks(s)
			r.stop()
		}
	}
	if plan.local == kindKillStart {
		r.heal()
		return r.killStarting(ctx, plan.hold)
	}
	if err := r.start(ctx); err != nil {
		return err
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, p := range r.publishers {
		cl := r.client
		wg.Go(func() { p.run(ctx, cl, stop, r.o.PerRound, r.o.Pause) })
	}
	var fault error
	var faults sync.WaitGroup
	faults.Go(func() { fault = r.steps(ctx, plan.steps) })
	pause(ctx, plan.at)
	r.hurt(ctx, plan)
	pause(ctx, r.o.RoundLength-plan.at)
	faults.Wait()
	close(stop)
	wg.Wait()
	r.heal()
	return errors.Join(fault, context.Cause(ctx))
}

// hurt does to the program what is planned.
func (r *run) hurt(ctx context.Context, plan round) {
	switch plan.local {
	case kindKill:
		r.kill()
	case kindStop:
		r.stop()
	case kindFreeze:
		r.child.signal(syscall.SIGSTOP)
		pause(ctx, plan.hold)
		r.child.signal(syscall.SIGCONT)
	}
}

// kill and stop end the program, unless that has ended: if by itself, that is for
// others to find.
func (r *run) kill() {
	if !r.child.gone() {
		r.ended = true
		r.child.kill()
	}
}

func (r *run) stop() {
	if r.child.gone() {
		return
	}
	r.ended = true
	if err := r.child.stop(r.o.Patience); err != nil {
		r.broken.add("stop", zero(), "%v", err)
	}
}

// killStarting kills the program while it starts, perhaps in the middle of its
// recovery.
func (r *run) killStarting(ctx context.Context, after time.Duration) error {
	r.kill()
	if !r.ended {
		return errEnded
	}
	if err := r.launch(); err != nil {
		return err
	}
	pause(ctx, after)
	r.kill()
	return context.Cause(ctx)
}

// steps goes through the faults of the surroundings, each at its moment.
func (r *run) steps(ctx context.Context, steps []step) error {
	began := time.Now()
	for _, s := range steps {
		pause(ctx, s.at-time.Since(began))
		if s.target != "" {
			r.breaks(s)
			pause(ctx, s.hold)
			r.healWay(s.target)
			continue
		}
		if err := r.foreign(ctx, r.o.Faults[s.own], s.hold); err != nil {
			return err
		}
	}
	return nil
}

// foreign is a fault of the caller's, which is mended even at the end of ctx.
func (r *run) foreign(ctx context.Context, f Fault, hold time.Duration) error {
	err := f.Begin(ctx)
	pause(ctx, hold)
	if err = errors.Join(err, f.End(context.WithoutCancel(ctx))); err != nil {
		return fmt.Errorf("fault %q: %w", f.Name, err)
	}
	return nil
}

func (r *run) breaks(s step) {
	for _, w := range r.ways {
		if w.target == s.target {
			w.breaks(s)
		}
	}
}

func (r *run) healWay(target string) {
	for _, w := range r.ways {
		if w.target == target {
			w.heal()
		}
	}
}

func (r *run) heal() {
	for _, w := range r.ways {
		w.heal()
	}
}

// end removes what was made, and closes the report.
func (r *run) end(ctx context.Context, failed error) {
	if r.child != nil && !r.child.gone() {
		r.child.signal(syscall.SIGCONT)
		r.child.kill()
	}
	if r.client != nil {
		r.client.Close()
	}
	for _, w := range r.ways {
		w.close()
	}
	if r.meter != nil {
		r.meter.stop()
	}
	r.finish(failed)
	if r.names.id == "" {
		return
	}
	if r.report.Verdict == Broken { // whoever looks into it needs the files and the tables
		r.report.Notes = append(r.report.Notes, "kept for a look: "+r.names.leftovers(r.o))
		return
	}
	if err := errors.Join(r.names.remove(ctx, r.o, r.ledger), os.RemoveAll(r.o.Dir)); err != nil {
		r.report.Notes = append(r.report.Notes, fmt.Sprintf("not all could be removed (%s): %v", r.names.leftovers(r.o), err))
	}
}

// pause waits for d, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// NewSeed draws a seed for who has none.
func NewSeed() uint64 { return rand.Uint64N(1 << 53) } // so that JSON readers keep it
