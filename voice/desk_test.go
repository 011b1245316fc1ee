package voice_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/recognisertest"
	"github.com/google/uuid"
)

// newDesk opens a desk over a script. Call it within a synctest bubble.
func newDesk(t *testing.T, o voice.DeskOptions, script recognisertest.Script) (*voice.Desk, *ledger) {
	t.Helper()
	l := &ledger{}
	r := recognisertest.NewScripted(script)
	o.Recogniser, o.Emitter = r, l
	d := voice.NewDesk(t.Context(), o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := errors.Join(d.Close(ctx), r.Close()); err != nil {
			t.Error(err)
		}
	})
	return d, l
}

func enter(t *testing.T, d *voice.Desk, o voice.SessionOptions) *voice.Lease {
	t.Helper()
	ticket, err := d.Admit(t.Context(), uuid.Nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ticket.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func resume(t *testing.T, d *voice.Desk, id uuid.UUID, token string) (*voice.Lease, error) {
	t.Helper()
	ticket, err := d.Admit(t.Context(), id)
	if err != nil {
		return nil, err
	}
	return ticket.Resume(t.Context(), token)
}

// texts reads the finals behind an utterance until the session is over.
func finalTexts(t *testing.T, l *voice.Lease, after int) (texts []string) {
	t.Helper()
	f := l.Follow(after)
	for {
		u, err := f.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return texts
		}
		if err != nil {
			t.Fatal(err)
		}
		if u.Kind == voice.KindFinal && u.Text != "" {
			texts = append(texts, u.Text)
		}
	}
}

func types(l *ledger) (types []bloodbank.EventType) {
	for _, e := range l.all() {
		types = append(types, e.EventType)
	}
	return types
}

// A connection that breaks in the middle of a word costs nothing: the same session
// goes on at the byte where it stood, and no utterance is made twice.
func TestResumeInTheMiddleOfAWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, events := newDesk(t, voice.DeskOptions{}, recognisertest.Script{Finals: []string{"one", "two", "three"}})
		l := enter(t, d, voice.SessionOptions{})
		speech := said(3, 700*time.Millisecond)
		cut := len(speech)/2 + 1 // half a sample
		if err := l.Write(t.Context(), speech[:cut]); err != nil {
			t.Fatal(err)
		}
		id, token := l.ID(), l.Token()
		l.Leave()
		time.Sleep(time.Minute)
		back, err := resume(t, d, id, token)
		if err != nil {
			t.Fatal(err)
		}
		if got := back.Progress().Bytes; got != int64(cut) {
			t.Errorf("go on at byte %d, want %d", got, cut)
		}
		if err := back.Write(t.Context(), speech[cut:]); err != nil {
			t.Fatal(err)
		}
		totals, err := back.End(t.Context(), voice.ReasonEnd)
		if err != nil || totals.Utterances != 3 {
			t.Errorf("totals %+v, %v", totals, err)
		}
		if got := finalTexts(t, back, 1); len(got) != 2 || got[0] != "two" {
			t.Errorf("behind the first: %q", got)
		}
		if got := types(events); len(got) != 5 {
			t.Errorf("events %v", got)
		}
	})
}

// A client that does not come back has its session ended, with what it had begun to
// say, marked as cut off.
func TestGraceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, events := newDesk(t, voice.DeskOptions{Grace: time.Minute}, recognisertest.Script{Finals: []string{"half a"}})
		l := enter(t, d, voice.SessionOptions{})
		speech := said(1, 2*time.Second)
		if err := l.Write(t.Context(), speech[:len(speech)/2]); err != nil {
			t.Fatal(err)
		}
		l.Leave()
		if s := d.Status(); s.Sessions != 1 || s.Waiting != 1 {
			t.Errorf("status %+v", s)
		}
		time.Sleep(time.Minute + time.Second)
		all := events.all()
		if len(all) != 3 {
			t.Fatalf("%d events", len(all))
		}
		if p := payload(t, all[1]); p["text"] != "half a" || p["truncated"] != true {
			t.Errorf("the utterance: %s", all[1].Payload)
		}
		if p := payload(t, all[2]); p["reason"] != "disconnected" {
			t.Errorf("the end: %s", all[2].Payload)
		}
		if key := l.ID().String(); all[0].OrderingKey != key || all[2].OrderingKey != key {
			t.Error("the events have no common ordering key")
		}
		// What was told can still be read for a while.
		back, err := resume(t, d, l.ID(), l.Token())
		if err != nil {
			t.Fatal(err)
		}
		if got := finalTexts(t, back, 0); !back.Over() || len(got) != 1 {
			t.Errorf("over %t, finals %q", back.Over(), got)
		}
		back.Leave()
		time.Sleep(time.Minute)
		if _, err := resume(t, d, l.ID(), l.Token()); bloodbank.CodeOf(err) != bloodbank.CodeNotFound {
			t.Errorf("long after: %v", err)
		}
	})
}

// Who comes back while the old connection is thought to be alive takes over.
func TestResumeTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := newDesk(t, voice.DeskOptions{}, recognisertest.Script{})
		l := enter(t, d, voice.SessionOptions{})
		go func() {
			<-l.Lost()
			l.Leave()
		}()
		back, err := resume(t, d, l.ID(), l.Token())
		if err != nil {
			t.Fatal(err)
		}
		// A holder that does not let go keeps it.
		if _, err := resume(t, d, l.ID(), l.Token()); bloodbank.CodeOf(err) != bloodbank.CodeConflict {
			t.Errorf("got %v", err)
		}
		<-back.Lost()
		back.Leave()
		time.Sleep(30 * time.Second)
		third, err := resume(t, d, l.ID(), l.Token())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := third.End(t.Context(), voice.ReasonEnd); err != nil {
			t.Error(err)
		}
	})
}

func TestResumeIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := newDesk(t, voice.DeskOptions{}, recognisertest.Script{})
		l := enter(t, d, voice.SessionOptions{})
		for token, code := range map[string]bloodbank.Code{"": bloodbank.CodeForbidden, l.Token() + "x": bloodbank.CodeForbidden} {
			if _, err := resume(t, d, l.ID(), token); bloodbank.CodeOf(err) != code {
				t.Errorf("token %q: %v", token, err)
			}
		}
		ticket, err := d.Admit(t.Context(), uuid.Nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ticket.Open(t.Context(), voice.SessionOptions{ID: l.ID()}); bloodbank.CodeOf(err) != bloodbank.CodeConflict {
			t.Errorf("an id in use: %v", err)
		}
		l.Leave()
	})
}

// When all places are taken, those whose client is away give way, the longest gone
// first, and those who speak never.
func TestAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, events := newDesk(t, voice.DeskOptions{MaxSessions: 2}, recognisertest.Script{})
		first, second := enter(t, d, voice.SessionOptions{}), enter(t, d, voice.SessionOptions{})
		if _, err := d.Admit(t.Context(), uuid.Nil); bloodbank.CodeOf(err) != bloodbank.CodeUnavailable {
			t.Errorf("a third: %v", err)
		}
		second.Leave()
		time.Sleep(time.Second)
		first.Leave()
		third := enter(t, d, voice.SessionOptions{})
		synctest.Wait()
		all := events.all()
		if last := payload(t, all[len(all)-1]); last["session_id"] != second.ID().String() && last["session_id"] != third.ID().String() {
			t.Errorf("gave way: %v", last)
		}
		if back, err := resume(t, d, first.ID(), first.Token()); err != nil || back.Over() {
			t.Errorf("the one that left last: %v", err)
		} else {
			back.Leave()
		}
		third.Leave()
	})
}

func TestNobodyIsLetInWithTooMuchLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		d, _ := newDesk(t, voice.DeskOptions{MaxLag: 3 * time.Second}, recognisertest.Script{Hold: hold})
		l := enter(t, d, voice.SessionOptions{})
		if err := l.Write(t.Context(), said(3, time.Second)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := d.Admit(t.Context(), uuid.Nil); bloodbank.CodeOf(err) != bloodbank.CodeUnavailable {
			t.Errorf("got %v", err)
		}
		close(hold)
		synctest.Wait()
		ticket, err := d.Admit(t.Context(), uuid.Nil)
		if err != nil {
			t.Fatal(err)
		}
		ticket.Return()
		l.Leave()
	})
}

// past is what an earlier process left.
type past map[uuid.UUID]voice.PastSession

func (p past) Session(_ context.Context, id uuid.UUID) (voice.PastSession, error) {
	if s, ok := p[id]; ok {
		return s, nil
	}
	return voice.PastSession{}, bloodbank.Errorf(bloodbank.CodeNotFound, "not known")
}

// After a crash the session goes on with its numbers and its clock, and its events
// keep their parent.
func TestResumeAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret := []byte("0123456789abcdef0123456789abcdef")
		before, _ := newDesk(t, voice.DeskOptions{Secret: secret}, recognisertest.Script{})
		dead := enter(t, before, voice.SessionOptions{})
		id, token := dead.ID(), dead.Token()
		opened := dead.Opened()
		d, events := newDesk(t, voice.DeskOptions{Secret: secret, Past: past{id: {
			Opened: opened, Utterances: 2, Audio: 10 * time.Second,
			Finals: []voice.Update{{Kind: voice.KindFinal, Utterance: 1, Text: "one"}, {Kind: voice.KindFinal, Utterance: 2, Text: "two"}},
		}}}, recognisertest.Script{Finals: []string{"three"}})
		l, err := resume(t, d, id, token)
		if err != nil {
			t.Fatal(err)
		}
		if p := l.Progress(); p.Bytes != 0 || p.Received != 10*time.Second {
			t.Errorf("progress %+v", p)
		}
		if err := l.Write(t.Context(), said(1, time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := l.End(t.Context(), voice.ReasonEnd); err != nil {
			t.Fatal(err)
		}
		if got := finalTexts(t, l, 1); len(got) != 2 || got[1] != "three" {
			t.Errorf("finals %q", got)
		}
		all := events.all()
		if len(all) != 2 || all[0].CorrelationIDs[0] != opened {
			t.Fatalf("events %+v", all)
		}
		if p := payload(t, all[0]); p["utterance"] != 3.0 || p["audio_metadata"].(map[string]any)["start_seconds"] != 10.3 {
			t.Errorf("payload %s", all[0].Payload)
		}
		if _, err := resume(t, d, uuid.New(), token); bloodbank.CodeOf(err) != bloodbank.CodeForbidden {
			t.Errorf("another id: %v", err)
		}
		dead.Leave()
	})
}
