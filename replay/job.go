package replay

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/gateway"
)

// State says how a job is.
type State string

// The states. A job that has failures is done all the same.
const (
	Running State = "running"
	Done    State = "done"
	// Stopped: the server stopped, or the way was broken; what was sent was sent.
	Stopped State = "stopped"
)

// Job is a replay under way, or one that ended.
type Job struct {
	ID     string `json:"id"`
	State  State  `json:"state"`
	Target Target `json:"target"`
	// Count is how many events there are to send; Sent and Failed how many were.
	Count  int `json:"count"`
	Sent   int `json:"sent"`
	Failed int `json:"failed"`
	// Truncated is the plan's.
	Truncated bool      `json:"truncated"`
	Started   time.Time `json:"started"`
	Ended     time.Time `json:"ended,omitzero"`
	// Failures are the first of those that failed.
	Failures []Failure `json:"failures"`
	// Error is why it stopped.
	Error string `json:"error,omitempty"`
}

// Failure is an event that could not be sent, and why.
type Failure struct {
	ID    bloodbank.EventID `json:"event_id"`
	Error *bloodbank.Error  `json:"error"`
}

// Replayer plans and runs replays, one at a time. It lives once. Jobs live with
// the process.
type Replayer struct {
	o    Options
	life context.Context
	end  context.CancelFunc
	work sync.WaitGroup

	mu      sync.Mutex
	jobs    []*Job // oldest first
	running bool
	closed  bool
}

// New returns a replayer. Its jobs outlive ctx; Close ends them.
func New(ctx context.Context, o Options) *Replayer {
	if o.Rate <= 0 {
		o.Rate = DefaultRate
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Replayer{o: o}
	p.life, p.end = context.WithCancel(context.WithoutCancel(ctx))
	return p
}

// Close stops the job under way, after the event that it is sending.
func (p *Replayer) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.end()
	p.work.Wait()
}

// Job returns one of the last jobs, or an error with CodeNotFound.
func (p *Replayer) Job(id string) (Job, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, j := range p.jobs {
		if j.ID == id {
			return snapshot(j), nil
		}
	}
	return Job{}, bloodbank.Errorf(bloodbank.CodeNotFound, "there is no replay %q; the last %d since the server started are remembered", id, maxJobs)
}

func snapshot(j *Job) Job {
	out := *j
	out.Failures = slices.Clone(j.Failures)
	return out
}

// Start plans r and begins to send. While another job runs it is CodeConflict.
func (p *Replayer) Start(ctx context.Context, r Request) (Job, error) {
	plan, err := p.Plan(ctx, r)
	if err != nil {
		return Job{}, err
	}
	r.Target = plan.Target
	fresh := make(map[bloodbank.EventID]bloodbank.EventID, len(plan.all))
	for _, n := range plan.all {
		if n.fresh, err = bloodbank.NewEventID(); err != nil {
			return Job{}, err
		}
		fresh[n.id] = n.fresh
	}
	id, err := bloodbank.NewEventID()
	if err != nil {
		return Job{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return Job{}, bloodbank.Errorf(bloodbank.CodeUnavailable, "the server is stopping")
	case p.running:
		return Job{}, bloodbank.Errorf(bloodbank.CodeConflict, "replay %s is running; wait until it is done (GET /replay/%[1]s)", p.jobs[len(p.jobs)-1].ID)
	}
	j := &Job{ID: id.String(), State: Running, Target: plan.Target, Count: plan.Count, Truncated: plan.Truncated, Started: p.o.Now().UTC(), Failures: []Failure{}}
	p.running = true
	if p.jobs = append(p.jobs, j); len(p.jobs) > maxJobs {
		p.jobs = p.jobs[1:]
	}
	p.work.Go(func() { p.run(j, r, plan.all, fresh) })
	return snapshot(j), nil
}

// run sends one event after the other, staggered: a replay must not crowd out
// what comes live.
func (p *Replayer) run(j *Job, r Request, all []*node, fresh map[bloodbank.EventID]bloodbank.EventID) {
	tick := time.NewTicker(time.Second / time.Duration(p.o.Rate))
	defer tick.Stop()
	for i, n := range all {
		if i > 0 {
			select {
			case <-tick.C:
			case <-p.life.Done():
			}
		}
		err := p.send(r, n, fresh)
		if p.life.Err() != nil && err != nil {
			p.finish(j, Stopped, "the server stopped")
			return
		}
		p.note(j, n.id, err)
		if hopeless(err) {
			p.finish(j, Stopped, err.Error())
			return
		}
	}
	p.finish(j, Done, "")
}

// hopeless reports whether the next event would fare no better: the way is
// broken, not the event.
func hopeless(err error) bool {
	var known *bloodbank.Error
	if err != nil && !errors.As(err, &known) {
		return !errors.Is(err, bus.ErrRejected)
	}
	switch bloodbank.CodeOf(err) {
	case bloodbank.CodeStorageFull, bloodbank.CodeUnavailable, bloodbank.CodeUnsupported:
		return true
	}
	return false
}

func (p *Replayer) note(j *Job, id bloodbank.EventID, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		j.Sent++
		return
	}
	j.Failed++
	if len(j.Failures) < maxFailures {
		var known *bloodbank.Error
		if !errors.As(err, &known) {
			known = &bloodbank.Error{Code: bloodbank.CodeUnavailable, Message: err.Error()}
		}
		j.Failures = append(j.Failures, Failure{id, known})
	}
}

func (p *Replayer) finish(j *Job, state State, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j.State, j.Error, j.Ended, p.running = state, why, p.o.Now().UTC(), false
	p.o.Logger.Info("a replay has ended", "job", j.ID, "state", state, "sent", j.Sent, "failed", j.Failed, "error", why)
}

// send sends one event.
func (p *Replayer) send(r Request, n *node, fresh map[bloodbank.EventID]bloodbank.EventID) error {
	stored, err := p.o.Store.Get(p.life, n.id)
	if err != nil {
		return err
	}
	if r.SameIDs {
		e := &stored.Envelope
		return p.o.Sandbox.PublishAside(p.life, bus.Message{ID: e.EventID, Type: e.EventType, Parent: e.CorrelationID(), Data: stored.Raw})
	}
	request := gateway.Request{Envelope: again(stored.Envelope, n, fresh)}
	if r.Target == ToBus {
		_, err := p.o.Gateway.Accept(p.life, request)
		return err
	}
	e, err := p.o.Gateway.Check(request)
	if err != nil {
		return err
	}
	data, err := e.AppendJSON(nil)
	if err != nil {
		return err
	}
	return p.o.Sandbox.PublishAside(p.life, bus.Message{ID: e.EventID, Type: e.EventType, Parent: e.CorrelationID(), Data: data})
}

// again is the event that repeats e: it happens now, and was caused by the new
// events of those of its parents that are replayed too, then by e.
func again(e bloodbank.Envelope, n *node, fresh map[bloodbank.EventID]bloodbank.EventID) bloodbank.Envelope {
	var parents []bloodbank.EventID
	for _, id := range n.parents {
		if f, ok := fresh[id]; ok && id != n.id && !slices.Contains(parents, f) && len(parents) < bloodbank.MaxParents-1 {
			parents = append(parents, f)
		}
	}
	e.ReplayOf, e.EventID, e.CorrelationIDs = e.EventID, n.fresh, append(parents, e.EventID)
	e.Timestamp, e.TraceParent = time.Time{}, ""
	return e
}
