package storetest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// voice makes an event of a session, so many seconds after the start of the
// suite's time.
func (k *kit) voice(t bloodbank.EventType, at int, payload string) store.Incoming {
	k.Helper()
	return k.event(func(e *bloodbank.Envelope) {
		e.EventType, e.Timestamp, e.Payload = t, start().Add(time.Duration(at)*time.Second), []byte(payload)
	})
}

func (k *kit) sessions() store.Sessions {
	k.Helper()
	s, ok := k.Store.(store.Sessions)
	if !ok {
		k.Skipf("SKIPPED: %T lists no sessions", k.Store)
	}
	return s
}

func (k *kit) session(id string) store.Session {
	k.Helper()
	found, err := k.sessions().Session(k.Context(), id)
	if err != nil {
		k.Fatal(err)
	}
	return found
}

// VoiceEvents are those of two sessions: one that ended, with two utterances, and
// one that is open. They are the sample for a migration's test, too.
func VoiceEvents(t testing.TB) (events []store.Incoming, want []store.Session) {
	t.Helper()
	add := func(kind bloodbank.EventType, at int, payload string) {
		events = append(events, incoming(t, bloodbank.Envelope{
			EventID: newID(t), EventType: kind, Timestamp: start().Add(time.Duration(at) * time.Second), Version: bloodbank.Version,
			Source: bloodbank.Source{Host: "box", Type: bloodbank.SourceManual, App: "bb"}, Payload: []byte(payload),
		}))
	}
	add(bloodbank.TypeSessionOpened, 0, `{"timestamp":"2026-01-27T10:00:00Z","source":"whisperlivekit","session_id":"one","recogniser":"r","language":"en","audio":{"sample_rate":16000,"channels":1}}`)
	add(bloodbank.TypeVoiceCompleted, 4, `{"text":"Turn on the lights","source":"whisperlivekit","session_id":"one","utterance":1,"audio_metadata":{"duration_seconds":2.5,"sample_rate":16000,"language":"de","start_seconds":1,"end_seconds":3.5}}`)
	add(bloodbank.TypeVoiceCompleted, 9, `{"text":" \"in the\" kitchen\\n ","source":"whisperlivekit","session_id":"one","utterance":2,"audio_metadata":{"start_seconds":5,"end_seconds":7.25}}`)
	add(bloodbank.TypeSessionOpened, 10, `{"source":"mobile-client","session_id":"two \\ 'x'"}`)
	add(bloodbank.TypeSessionClosed, 12, `{"source":"whisperlivekit","session_id":"one","reason":"end","utterances":2,"failed":0,"audio_seconds":11.5}`)
	add("transcription.voice.started", 500, `{"session_id":"one","text":"not this"}`)
	add(bloodbank.TypeVoiceCompleted, 500, `{"text":"without a session"}`)
	at := func(s int) time.Time { return start().Add(time.Duration(s) * time.Second) }
	return events, []store.Session{
		{ID: `two \ 'x'`, Source: "mobile-client", Opened: at(10), Last: at(10)},
		{ID: "one", Source: "whisperlivekit", Opened: at(0), Last: at(12), Closed: at(12), Utterances: 2, Words: 7,
			Audio: 11500 * time.Millisecond, LastText: `"in the" kitchen\n`, Language: "de"},
	}
}

func testSessions(t *testing.T, k *kit) {
	s := k.sessions()
	now := start().Add(time.Minute)
	if page, err := s.Sessions(t.Context(), store.SessionQuery{Now: now}); err != nil || len(page.Sessions) != 0 || page.Next != "" {
		t.Fatalf("%+v, %v", page, err)
	}
	events, want := VoiceEvents(t)
	check := func() {
		t.Helper()
		page, err := s.Sessions(t.Context(), store.SessionQuery{Now: now})
		if err != nil || !reflect.DeepEqual(page, store.SessionPage{Sessions: want}) {
			t.Fatalf("got  %+v, %v\nwant %+v", page, err, want)
		}
		for _, w := range want {
			if got := k.session(w.ID); !reflect.DeepEqual(got, w) {
				t.Fatalf("got  %+v\nwant %+v", got, w)
			}
		}
	}
	k.add(events[:3]...)
	if got := k.session("one"); got.State(now) != store.SessionLive || got.State(now.Add(store.SessionSilence)) != store.SessionLost || got.Utterances != 2 {
		t.Fatalf("%+v", got)
	}
	k.add(events...) // the first of them again
	check()
	k.add(events...)
	slices.Reverse(events)
	k.add(events...)
	check()
	if want[1].State(now) != store.SessionEnded {
		t.Fatal(want[1].State(now))
	}
	_, err := s.Session(t.Context(), "three")
	k.code(err, bloodbank.CodeNotFound)
	// Late ones, in the wrong order, fill in what they know.
	k.add(k.voice(bloodbank.TypeVoiceCompleted, 6, `{"text":"late words","session_id":"one","audio_metadata":{"language":"fr","end_seconds":4}}`))
	k.add(k.voice(bloodbank.TypeSessionOpened, -5, `{"source":"desktop-client","session_id":"one","language":"xx"}`))
	want[1].Utterances, want[1].Words, want[1].Opened = 3, 9, start().Add(-5*time.Second)
	check()
}

// What a payload says in a way of its own must neither stop the append nor count.
func testOddSessions(t *testing.T, k *kit) {
	k.sessions()
	for i, payload := range []string{
		`{"session_id":"odd%d","text":5,"source":{},"audio_metadata":[],"audio_seconds":"long"}`,
		`{"session_id":"odd%d","text":null,"source":null,"audio_metadata":null,"audio_seconds":null}`,
		`{"session_id":"odd%d","text":["a"],"audio_metadata":{"end_seconds":{},"language":7}}`,
		`{"session_id":"odd%d","audio_metadata":"x","language":[]}`,
		`{"session_id":"odd%d","text":"  "}`,
		`{"session_id":"odd%d","audio_seconds":-1e300}`,
	} {
		id := fmt.Sprintf("odd%d", i)
		for at, kind := range []bloodbank.EventType{bloodbank.TypeSessionOpened, bloodbank.TypeVoiceCompleted, bloodbank.TypeSessionClosed} {
			k.add(k.voice(kind, at, fmt.Sprintf(payload, i)))
		}
		if s := k.session(id); s.Utterances != 1 || s.Closed.IsZero() || s.Audio < 0 || !s.Opened.Equal(start()) {
			t.Fatalf("%s: %+v", payload, s)
		}
	}
	k.add(k.voice(bloodbank.TypeVoiceCompleted, 1, `{"session_id":"long","text":"`+strings.Repeat("ä", 600)+`","audio_metadata":{"end_seconds":1e300}}`))
	if s := k.session("long"); s.LastText != strings.Repeat("ä", store.MaxLastText) || s.Audio <= 0 {
		t.Fatalf("%d bytes, %s", len(s.LastText), s.Audio)
	}
	k.add(k.voice(bloodbank.TypeVoiceCompleted, 1, `{"session_id":"nul","text":"a \u0000 b"}`))
	if s := k.session("nul"); s.Utterances != 1 {
		t.Fatalf("%+v", s)
	}
}

func testSessionPages(t *testing.T, k *kit) {
	s := k.sessions()
	var batch []store.Incoming
	now := start().Add(time.Hour)
	var all []string
	want := map[store.SessionState][]string{}
	for i := range 90 {
		id := fmt.Sprintf("s%02d", i)
		state := []store.SessionState{store.SessionEnded, store.SessionLost, store.SessionLive}[i%3]
		batch = append(batch, k.voice(bloodbank.TypeSessionOpened, i/10, `{"session_id":"`+id+`"}`)) // ten begin at once
		switch state {
		case store.SessionEnded:
			batch = append(batch, k.voice(bloodbank.TypeSessionClosed, 100, `{"session_id":"`+id+`"}`))
		case store.SessionLive:
			batch = append(batch, k.voice(bloodbank.TypeVoiceCompleted, 3500, `{"session_id":"`+id+`","text":"x"}`))
		}
		all, want[state] = append(all, id), append(want[state], id)
	}
	k.add(batch...)
	want[""] = all
	for state, ids := range want {
		for _, limit := range []int{1, 7, 30, 90, 0} {
			q := store.SessionQuery{State: state, Now: now, Limit: limit}
			var got []string
			for {
				page, err := s.Sessions(t.Context(), q)
				if err != nil || len(page.Sessions) > max(limit, store.DefaultLimit*(1-min(limit, 1))) {
					t.Fatalf("%d sessions, %v", len(page.Sessions), err)
				}
				for i, found := range page.Sessions {
					if state != "" && found.State(now) != state {
						t.Fatalf("%+v is not %s", found, state)
					}
					if i > 0 && found.Opened.After(page.Sessions[i-1].Opened) {
						t.Fatal("not the newest first")
					}
					got = append(got, found.ID)
				}
				if q.Cursor = page.Next; q.Cursor == "" {
					break
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, ids) {
				t.Fatalf("%q by %d: %v", state, limit, got)
			}
		}
	}
	page, err := s.Sessions(t.Context(), store.SessionQuery{Now: now, Limit: 1})
	k.code(err, "")
	for _, bad := range []store.SessionQuery{
		{Limit: -1}, {Limit: store.MaxLimit + 1}, {State: "dead"}, {Cursor: "x"}, {State: store.SessionLive, Cursor: page.Next}, {Cursor: store.Query{}.CursorAt(store.Position{})},
	} {
		bad.Now = now
		_, err := s.Sessions(t.Context(), bad)
		k.code(err, bloodbank.CodeInvalid)
	}
}
