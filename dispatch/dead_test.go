package dispatch

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/wal/vfs"
)

func TestDeadAtOnce(t *testing.T) {
	t.Parallel()
	odd := []byte(`{"no":"event"}`)
	broken := []byte("\xff not JSON")
	run(t, nil, func(r *rig) {
		for _, record := range [][]byte{odd, broken} {
			r.acceptRecord(event{odd: true}, record)
		}
		r.broker.script = []action{reject}
		e := r.accept("k")[0]
		r.accept("k")
		r.settled(3)
		letters := r.dead.List(0, 0)
		get := func(i int) DeadLetter {
			letter, err := r.dead.Get(letters[i].Number)
			r.must(err)
			return letter
		}
		r.require(string(get(0).Event) == string(odd) && get(0).Raw == nil && letters[0].Attempts == 0 && strings.Contains(letters[0].Reason, "no event"), "%+v", get(0))
		r.require(string(get(1).Raw) == string(broken) && get(1).Event == nil, "%+v", get(1))
		r.require(letters[2].EventID == e.id && letters[2].Attempts == 1 && strings.Contains(letters[2].Reason, "too large"), "%+v", letters[2])
		r.require(letters[2].Event == nil && letters[1].Raw == nil, "lists hold no events")
		decoded, err := bloodbank.DecodeEnvelope(get(2).Event)
		r.require(err == nil && decoded.EventID == e.id, "%v", err)
		for i, code := range []bloodbank.Code{bloodbank.CodeInvalid, bloodbank.CodeInvalid, ""} {
			err := r.d.Redrive(r.ctx, letters[i].Number)
			r.require(bloodbank.CodeOf(err) == code, "redrive %d: %v", i, err)
		}
		r.require(len(r.dead.List(0, 1)) == 1 && len(r.dead.List(letters[0].Number, 0)) == 1, "pages")
		_, err = r.dead.Get(letters[2].Number)
		r.require(bloodbank.CodeOf(err) == bloodbank.CodeNotFound, "%v", err)
		r.restart()
		r.settled(2)
	})
}

// While a dead letter cannot be written down its event stays pending, and its
// key waits.
func TestDeadLettersOnAFullDisk(t *testing.T) {
	t.Parallel()
	for _, ordered := range []bool{false, true} {
		run(t, func(r *rig) { r.broker.ordered = ordered }, func(r *rig) {
			r.accept("")
			r.mem.SetHook(func(op vfs.Op) vfs.Fault {
				if op.Kind == vfs.OpWrite && strings.HasPrefix(op.Path, "/dead/") {
					return vfs.Fault{Err: errors.New("no space left")}
				}
				return vfs.Fault{}
			})
			r.broker.script = []action{reject}
			e := r.accept("k", "", "")
			r.pass(time.Second)
			behind := r.accept("k")[0]
			r.pass(5 * time.Minute)
			r.checkAll()
			s := r.d.Status()
			r.require(s.Dead == 0 && s.Lag == 2 && s.Position == 1, "%+v", s)
			r.require(r.broker.sent(behind.id) == 0 && r.broker.sent(e[2].id) == 1, "the key waits, the others do not")
			r.mem.SetHook(nil)
			r.pass(time.Minute)
			r.settled(1)
			r.require(r.broker.sent(e[0].id) == 1, "sent %d times", r.broker.sent(e[0].id))
		})
	}
}

func TestRedrive(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		action action
		code   bloodbank.Code
		dead   int
	}{
		{"success", confirm, "", 0},
		{"rejected again", reject, bloodbank.CodeUnavailable, 1},
		{"failed", lose, bloodbank.CodeUnavailable, 1},
		{"failed but happened", happened, bloodbank.CodeUnavailable, 1},
		{"not sent", refuse, bloodbank.CodeUnavailable, 1},
		{"never answered", silent, bloodbank.CodeTimeout, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			run(t, nil, func(r *rig) {
				r.broker.script = []action{reject}
				e := r.accept("")[0]
				number := r.dead.List(0, 0)[0].Number
				r.broker.script = []action{tt.action}
				ctx, cancel := context.WithTimeout(r.ctx, time.Minute)
				defer cancel()
				err := r.d.Redrive(ctx, number)
				r.require(bloodbank.CodeOf(err) == tt.code, "%v", err)
				r.settled(tt.dead)
				r.restart() // which must not matter
				r.settled(tt.dead)
				r.require(r.broker.sent(e.id) == 2, "sent %d times", r.broker.sent(e.id))
				if tt.dead == 1 {
					r.must(r.d.Redrive(r.ctx, number))
					r.settled(0)
				}
				err = r.d.Redrive(r.ctx, number)
				r.require(bloodbank.CodeOf(err) == bloodbank.CodeNotFound, "%v", err)
			})
		})
	}
}

func TestRedriveRefusals(t *testing.T) {
	t.Parallel()
	run(t, nil, func(r *rig) {
		r.broker.script = []action{reject}
		r.accept("")
		number := r.dead.List(0, 0)[0].Number

		// Twice at once.
		r.broker.script = []action{slow}
		first := make(chan error, 1)
		go func() { first <- r.d.Redrive(r.ctx, number) }()
		synctest.Wait()
		r.require(bloodbank.CodeOf(r.d.Redrive(r.ctx, number)) == bloodbank.CodeConflict, "not refused")
		r.must(<-first)
		r.settled(0)

		// While the bus is down: at once, without a probe.
		r.broker.script = []action{reject}
		r.accept("")
		number = r.dead.List(0, 0)[0].Number
		r.broker.set(func(b *broker) { b.down = true })
		r.accept("")
		r.pass(10 * time.Millisecond)
		before := r.broker.count()
		err := r.d.Redrive(r.ctx, number)
		r.require(bloodbank.CodeOf(err) == bloodbank.CodeUnavailable && strings.Contains(err.Error(), "at the moment"), "%v", err)
		r.require(r.broker.count() == before, "it was sent")
		r.broker.set(func(b *broker) { b.down = false })
		r.pass(time.Minute)

		// Somebody who left before it was sent.
		gone, leave := context.WithCancel(r.ctx)
		leave()
		r.broker.script = []action{block}
		r.accept("") // keeps the loop busy
		r.require(bloodbank.CodeOf(r.d.Redrive(gone, number)) == bloodbank.CodeTimeout, "no timeout")
		r.require(r.d.Status().Dead == 1, "gone")

		// After the stop.
		r.must(r.d.Stop(r.ctx))
		r.require(bloodbank.CodeOf(r.d.Redrive(r.ctx, number)) == bloodbank.CodeUnavailable, "accepted after the stop")
		r.restart()
		r.settled(1)
	})
}

func TestTooManyRedrives(t *testing.T) {
	t.Parallel()
	run(t, nil, func(r *rig) {
		for range maxRedrives + 1 {
			r.broker.set(func(b *broker) { b.script = append(b.script, reject) })
		}
		r.accept(keys(maxRedrives+1, "")...)
		r.broker.script = []action{block}
		r.accept("")
		ctx, cancel := context.WithCancel(r.ctx)
		results := make(chan error, maxRedrives)
		letters := r.dead.List(0, 0)
		for _, letter := range letters[:maxRedrives] {
			go func() { results <- r.d.Redrive(ctx, letter.Number) }()
		}
		synctest.Wait()
		err := r.d.Redrive(r.ctx, letters[maxRedrives].Number)
		r.require(bloodbank.CodeOf(err) == bloodbank.CodeOverloaded, "%v", err)
		cancel()
		for range maxRedrives {
			r.require(bloodbank.CodeOf(<-results) == bloodbank.CodeTimeout, "no timeout")
		}
		r.kill()
		r.settled(maxRedrives + 1)
	})
}

// A dead letter whose record cannot be read is listed, and stops nothing.
func TestUnreadableDeadLetter(t *testing.T) {
	t.Parallel()
	run(t, nil, func(r *rig) {
		_, err := r.deadLog.Append(r.ctx, []byte(`what is this`))
		r.must(err)
		r.restart()
		letters := r.dead.List(0, 0)
		r.require(len(letters) == 1, "%+v", letters)
		letter, err := r.dead.Get(letters[0].Number)
		r.require(err == nil && string(letter.Raw) == "what is this", "%+v %v", letter, err)
		r.require(bloodbank.CodeOf(r.d.Redrive(r.ctx, letter.Number)) == bloodbank.CodeInvalid, "redriven")
		r.accept("")
		r.settled(1)
	})
}
