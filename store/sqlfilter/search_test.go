package sqlfilter

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// memory is a table with the sequences 1 to last, which reads at most most rows
// at once.
func memory(last, most int64, rest string) (Search[int64], error) {
	f, err := store.ParseFilter(rest, time.Unix(0, 0))
	q, normal := store.Query{Filter: f, Order: store.OldestFirst, Limit: 10}.Normalize()
	return Search[int64]{
		Query: q, Rest: f,
		Position: func(r *int64) store.Position { return store.Position{Sequence: *r} },
		Event: func(r *int64) store.Event {
			return store.Event{Sequence: *r, Envelope: bloodbank.Envelope{Payload: fmt.Appendf(nil, `{"n":%d}`, *r)}}
		},
		Read: func(behind *store.Position, step int) (rows []int64, more bool, err error) {
			next := int64(1)
			if behind != nil {
				next = behind.Sequence + 1
			}
			for ; next <= last && len(rows) < step && int64(len(rows)) < most; next++ {
				rows = append(rows, next)
			}
			return rows, next <= last, nil
		},
	}, errors.Join(err, normal)
}

func TestSearchPages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		last, most, want int64
		rest             string
	}{
		{0, 100, 0, ""}, {10, 100, 10, ""}, {11, 100, 11, ""}, {95, 3, 95, ""},
		{1000, 7, 20, "payload.n:>980"}, {1000, 5000, 0, "payload.n:>1000"}, {1000, 5000, 1, "payload.n:1000"},
	} {
		s, err := memory(c.last, c.most, c.rest)
		if err != nil {
			t.Fatal(err)
		}
		seen := int64(0)
		for pages := 0; pages == 0 || s.Query.Cursor != ""; pages++ {
			page, err := s.Page()
			if err != nil || len(page.Events) > 10 || pages > 10 {
				t.Fatalf("%+v: %d events on page %d, %v", c, len(page.Events), pages, err)
			}
			for _, e := range page.Events {
				if seen++; c.rest == "" && e.Sequence != seen {
					t.Fatalf("%+v: %d follows %d", c, e.Sequence, seen-1)
				}
			}
			s.Query.Cursor = page.Next
		}
		s.Query.Cursor = ""
		if n, err := s.Count(); err != nil || n != c.want || seen != c.want {
			t.Fatalf("%+v: counted %d, saw %d, %v", c, n, seen, err)
		}
	}
}

func TestSearchEnds(t *testing.T) {
	t.Parallel()
	s, err := memory(100*store.MaxCountRead, 1000, "payload.n:>0")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Count(); err != nil || n != store.MaxCountRead {
		t.Fatalf("counted %d, %v", n, err)
	}
	broken := errors.New("broken")
	s.Read = func(*store.Position, int) ([]int64, bool, error) { return nil, false, broken }
	if page, err := s.Page(); !errors.Is(err, broken) || page.Events != nil {
		t.Fatal(page, err)
	}
	if _, err := s.Count(); !errors.Is(err, broken) {
		t.Fatal(err)
	}
}

func TestGate(t *testing.T) {
	t.Parallel()
	g := NewGate(t.Context(), "here")
	ctx, leave, err := g.Enter(t.Context())
	if err != nil || ctx.Err() != nil {
		t.Fatal(err)
	}
	waited := make(chan struct{})
	if !g.Shut() || g.Shut() {
		t.Fatal("only the first Shut is the first")
	}
	go func() {
		g.Wait()
		close(waited)
	}()
	<-ctx.Done() // the call is told to end
	select {
	case <-waited:
		t.Fatal("Wait did not wait for the call")
	default:
	}
	leave()
	<-waited
	if !errors.Is(g.Life.Err(), context.Canceled) {
		t.Fatal(g.Life.Err())
	}
	if _, _, err := g.Enter(t.Context()); bloodbank.CodeOf(err) != bloodbank.CodeUnavailable {
		t.Fatal(err)
	}
}
