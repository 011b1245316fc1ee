package correlation

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank"
)

// scripted answers as it is told.
type scripted struct {
	chain Chain
	err   error
	hang  bool // until the caller gives up
	asked atomic.Int64
}

func (s *scripted) Chain(ctx context.Context, _ bloodbank.EventID, _ Direction, _ Limits) (Chain, error) {
	s.asked.Add(1)
	if s.hang {
		<-ctx.Done()
		return Chain{}, ctx.Err()
	}
	return s.chain, s.err
}

func (s *scripted) Parents(ctx context.Context, id bloodbank.EventID) ([]bloodbank.EventID, error) {
	c, err := s.Chain(ctx, id, Ancestors, Limits{})
	if err != nil {
		return nil, err
	}
	return c.Nodes[0].Parents, nil
}

func (s *scripted) Children(ctx context.Context, id bloodbank.EventID) ([]bloodbank.EventID, error) {
	c, err := s.Chain(ctx, id, Descendants, Limits{})
	if err != nil {
		return nil, err
	}
	return childrenOf(c), nil
}

func (*scripted) id(n byte) bloodbank.EventID { return bloodbank.EventID{15: n} }

// answers returns a copy and a truth that agree about three events, the start and
// its two children, made an hour ago.
func answers(d Direction) (fast, truth *scripted) {
	id := fast.id
	at := time.Now().Add(-time.Hour)
	c := Chain{Start: id(1), Direction: d, Nodes: []Node{
		{ID: id(1), Known: true, Timestamp: at},
		{ID: id(3), Known: true, Parents: []bloodbank.EventID{id(1)}, Depth: 1, Timestamp: at},
		{ID: id(2), Known: true, Parents: []bloodbank.EventID{id(1)}, Depth: 1, Timestamp: at.Add(time.Minute)},
	}}
	return &scripted{chain: c}, &scripted{chain: c}
}

// TestFallbackAnswers: whatever is wrong with the copy, the answer is the truth's.
func TestFallbackAnswers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		d     Direction
		spoil func(fast *scripted, o *FallbackOptions)
		fast  bool
	}{
		"works":            {Descendants, func(*scripted, *FallbackOptions) {}, true},
		"cut by a limit":   {Descendants, func(f *scripted, _ *FallbackOptions) { f.chain.Truncated = true }, true},
		"down":             {Descendants, func(f *scripted, _ *FallbackOptions) { f.err = errors.New("down") }, false},
		"silent":           {Descendants, func(f *scripted, _ *FallbackOptions) { f.hang = true }, false},
		"catching up":      {Descendants, func(_ *scripted, o *FallbackOptions) { o.Ready = func() bool { return false } }, false},
		"does not know it": {Descendants, func(f *scripted, _ *FallbackOptions) { f.err = bloodbank.Errorf(bloodbank.CodeNotFound, "no") }, false},
		"lost links":       {Ancestors, func(f *scripted, _ *FallbackOptions) { f.chain.Lost = true }, false},
		"was emptied":      {Descendants, func(f *scripted, _ *FallbackOptions) { f.chain.Nodes = f.chain.Nodes[:1] }, false},
		"old events":       {Ancestors, func(_ *scripted, o *FallbackOptions) { o.MaxAge = 30 * time.Minute }, false},
		"young events":     {Ancestors, func(_ *scripted, o *FallbackOptions) { o.MaxAge = 2 * time.Hour }, true},
		"of unknown age": {Descendants, func(f *scripted, o *FallbackOptions) {
			o.MaxAge = 2 * time.Hour
			f.chain.Nodes = append([]Node{{ID: f.id(1)}}, f.chain.Nodes[1:]...)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fast, truth := answers(c.d)
			o := FallbackOptions{Fast: fast, Truth: truth, Patience: 10 * time.Millisecond}
			c.spoil(fast, &o)
			want := truth.chain
			want.Truncated = fast.chain.Truncated && c.fast
			f := NewFallback(o)
			got, err := f.Chain(t.Context(), want.Start, c.d, Limits{})
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%v, %+v", err, got)
			}
			if (f.Status().Fast == 1) != c.fast || f.Status().Fast+f.Status().Truth != 1 {
				t.Errorf("%+v", f.Status())
			}
			parents, err := f.Parents(t.Context(), want.Start)
			children, err2 := f.Children(t.Context(), want.Start)
			if err != nil || err2 != nil || len(parents) != 0 || !reflect.DeepEqual(children, []bloodbank.EventID{fast.id(3), fast.id(2)}) {
				t.Errorf("%v, %v, %v, %v", parents, err, children, err2)
			}
		})
	}
}

// Where neither has an answer the error is the truth's.
func TestFallbackErrors(t *testing.T) {
	t.Parallel()
	fast, truth := answers(Ancestors)
	fast.err, truth.err = errors.New("redis"), bloodbank.Errorf(bloodbank.CodeNotFound, "store")
	f := NewFallback(FallbackOptions{Fast: fast, Truth: truth})
	_, err := f.Chain(t.Context(), fast.id(1), Ancestors, Limits{})
	_, err2 := f.Parents(t.Context(), fast.id(1))
	_, err3 := f.Children(t.Context(), fast.id(1))
	for _, err := range []error{err, err2, err3} {
		if bloodbank.CodeOf(err) != bloodbank.CodeNotFound {
			t.Errorf("%v", err)
		}
	}
}

// TestFallbackBreaker: a silent copy costs its patience once, is asked again now
// and then by one question, and is used once it is back.
func TestFallbackBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fast, truth := answers(Ancestors)
		fast.hang = true
		f := NewFallback(FallbackOptions{Fast: fast, Truth: truth})
		ask := func() time.Duration {
			t.Helper()
			began := time.Now()
			if _, err := f.Chain(t.Context(), fast.id(1), Ancestors, Limits{}); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
		if took := ask(); took != DefaultPatience || f.Status().Fault == "" {
			t.Fatalf("the first question took %s: %+v", took, f.Status())
		}
		for range 100 {
			if took := ask(); took != 0 {
				t.Fatalf("a question took %s, though the copy is known to be silent", took)
			}
		}
		time.Sleep(firstPause) // on the bubble's clock
		if first, second := ask(), ask(); first != DefaultPatience || second != 0 {
			t.Fatalf("after the pause: %s, then %s", first, second)
		}
		fast.hang = false
		time.Sleep(lastPause)
		ask()
		ask()
		if s := f.Status(); s.Fast != 2 || s.Fault != "" || fast.asked.Load() != 4 {
			t.Fatalf("it is back, but: %+v, asked %d times", s, fast.asked.Load())
		}
	})
}

// A caller who gives up says nothing about the copy.
func TestFallbackCallerGivesUp(t *testing.T) {
	t.Parallel()
	fast, truth := answers(Ancestors)
	fast.hang = true
	f := NewFallback(FallbackOptions{Fast: fast, Truth: truth, Patience: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := f.Chain(ctx, fast.id(1), Ancestors, Limits{}); err != nil {
		t.Fatal(err) // this truth does not look at the context
	}
	if s := f.Status(); s.Fault != "" {
		t.Fatalf("%+v", s)
	}
}
