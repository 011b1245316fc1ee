package sqlfilter

import "github.com/33god/bloodbank/store"

// MaxPageBytes ends a page of large events before its limit; Next goes on. It
// ends an answer of After in the same way.
const MaxPageBytes = 8 << 20

// Search walks through the candidates R of a plan and keeps those that Rest lets
// through.
type Search[R any] struct {
	Query store.Query // normalized
	Rest  store.Filter
	// Read returns the next candidates in the query's order, up to step and about
	// MaxPageBytes of them; behind is nil at the start. more says that there may
	// be further ones.
	Read     func(behind *store.Position, step int) (rows []R, more bool, err error)
	Position func(*R) store.Position
	Event    func(*R) store.Event
}

// Page returns the page that the query asks for. Where Rest decides, it reads as
// many candidates as it takes to fill the page: only an error of Read ends that.
func (s Search[R]) Page() (page store.Page, err error) {
	var end store.Position
	bytes := 0
	// One more than wanted tells whether there is a next page.
	err = s.each(s.Query.Limit+1, func(r *R) bool {
		e := s.Event(r)
		if !s.Rest.Match(&e.Envelope) {
			return true
		}
		bytes += len(e.Raw)
		if n := len(page.Events); n == s.Query.Limit || n > 0 && bytes > MaxPageBytes {
			page.Next = s.Query.CursorAt(end)
			return false
		}
		if page.Events == nil {
			page.Events = make([]store.Event, 0, min(s.Query.Limit, store.DefaultLimit))
		}
		page.Events = append(page.Events, e)
		end = s.Position(r)
		return true
	})
	if err != nil {
		return store.Page{}, err
	}
	return page, nil
}

// Count returns how many of the first [store.MaxCountRead] candidates Rest lets
// through.
func (s Search[R]) Count() (n int64, err error) {
	read := 0
	err = s.each(store.MaxLimit, func(r *R) bool {
		if e := s.Event(r); s.Rest.Match(&e.Envelope) {
			n++
		}
		read++
		return read < store.MaxCountRead
	})
	return n, err
}

// each visits the candidates, until visit returns false. It reads step of them
// at first, and more each time.
func (s Search[R]) each(step int, visit func(*R) bool) error {
	var behind *store.Position
	at, started, err := s.Query.Position()
	if err != nil {
		return err
	}
	if started {
		behind = &at
	}
	if len(s.Rest.Terms) > 0 {
		step = max(step, 64)
	}
	for {
		rows, more, err := s.Read(behind, step)
		if err != nil {
			return err
		}
		for i := range rows {
			if !visit(&rows[i]) {
				return nil
			}
		}
		if !more || len(rows) == 0 {
			return nil
		}
		at = s.Position(&rows[len(rows)-1])
		behind, step = &at, min(2*step, store.MaxLimit+1)
	}
}
