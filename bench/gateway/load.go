package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options say how much is spoken.
type Options struct {
	Sessions int
	Spoken   time.Duration // by each
	// Warm is how long after its start a session is measured.
	Warm time.Duration
	// Sample is called in the middle, when all speak.
	Sample func() error
}

// Figures are what the sessions met.
type Figures struct {
	Words    int
	P50, P99 time.Duration // from upstream's message to the client's
	Missing  int           // words that upstream told and no client saw by the end
}

// Load is an upstream and its clients.
type Load struct {
	o        Options
	words    *words
	upstream *upstream
}

// New starts the upstream. Close it.
func New(o Options) (*Load, error) {
	w := newWords(o.Sessions, int(o.Spoken/every))
	u, err := startUpstream(w)
	if err != nil {
		return nil, err
	}
	return &Load{o, w, u}, nil
}

// Upstream is the address for bb: voice.upstream.
func (l *Load) Upstream() string { return l.upstream.url }

// Close ends the upstream.
func (l *Load) Close() error { return l.upstream.server.Close() }

// Direct speaks to the upstream itself: what the machine adds without bb.
func (l *Load) Direct(ctx context.Context) (Figures, error) {
	f, err := l.speak(ctx, l.upstream.url)
	l.words.forget()
	return f, err
}

// Run speaks to the bb at a URL, with sessions that begin within a second.
func (l *Load) Run(ctx context.Context, url string) (Figures, error) {
	return l.speak(ctx, strings.Replace(url, "http", "ws", 1)+"/asr")
}

func (l *Load) speak(ctx context.Context, url string) (Figures, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*l.o.Spoken+time.Minute)
	defer cancel()
	began := time.Now()
	all, errs := make([]*speaker, l.o.Sessions), make([]error, l.o.Sessions+1)
	var run sync.WaitGroup
	for i := range all {
		all[i] = &speaker{words: l.words, warm: began.Add(l.o.Warm)}
		run.Go(func() {
			time.Sleep(time.Duration(i) * time.Second / time.Duration(l.o.Sessions))
			if err := all[i].run(ctx, url, l.o.Spoken); err != nil {
				errs[i] = fmt.Errorf("session %d: %w", i, err)
			}
		})
	}
	if l.o.Sample != nil {
		time.Sleep(l.o.Spoken / 2)
		errs[l.o.Sessions] = l.o.Sample()
	}
	run.Wait()
	for _, err := range errs {
		if err != nil {
			return Figures{}, err // the others are likely the same
		}
	}
	return l.figures(all), nil
}

func (l *Load) figures(all []*speaker) (f Figures) {
	var delays []time.Duration
	for _, s := range all {
		delays = append(delays, s.delays...)
	}
	f.Missing = l.words.unseen(all)
	if f.Words = len(delays); f.Words == 0 {
		return f
	}
	slices.Sort(delays)
	f.P50, f.P99 = delays[len(delays)/2], delays[len(delays)*99/100]
	return f
}
