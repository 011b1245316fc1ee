package voice_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/recognisertest"
	"github.com/google/uuid"
)

func TestSessionPublishesEachUtteranceOnce(t *testing.T) {
	t.Parallel()
	sure := 0.87654
	id := uuid.MustParse("0198c0de-0000-7000-8000-000000000001")
	now := time.Date(2026, 1, 27, 10, 0, 0, 123456789, time.UTC)
	s, l, updates := open(t, voice.SessionOptions{
		ID: id, Source: voice.SourceMobileClient, Target: "tonny", Language: "en",
		Now: func() time.Time { return now },
	}, recognisertest.Script{
		Finals: []string{"one <b>", " two ", "", "four"},
		Result: voice.Transcription{Confidence: &sure, Language: "en-US", Model: "en-us-ptm"},
	})
	if err := s.Write(t.Context(), said(4, 700*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	totals, err := s.End(t.Context(), voice.ReasonEnd)
	if err != nil || totals.Utterances != 3 || totals.Failed != 0 || totals.Audio != 7400*time.Millisecond {
		t.Fatalf("totals %+v, error %v", totals, err)
	}
	events := l.all()
	if len(events) != 5 {
		t.Fatalf("%d events, want opened, three utterances and closed", len(events))
	}
	wantTypes := []bloodbank.EventType{bloodbank.TypeSessionOpened, bloodbank.TypeVoiceCompleted,
		bloodbank.TypeVoiceCompleted, bloodbank.TypeVoiceCompleted, bloodbank.TypeSessionClosed}
	for i, e := range events {
		if e.EventType != wantTypes[i] {
			t.Errorf("event %d is %s, want %s", i, e.EventType, wantTypes[i])
		}
		var parents []bloodbank.EventID
		if i > 0 {
			parents = []bloodbank.EventID{s.Opened()}
		}
		if !reflect.DeepEqual(e.CorrelationIDs, parents) {
			t.Errorf("event %d has parents %v, want %v", i, e.CorrelationIDs, parents)
		}
		if p := payload(t, e); p["session_id"] != id.String() || p["target"] != "tonny" ||
			p["timestamp"] != "2026-01-27T10:00:00.123456Z" || p["source"] != "mobile-client" {
			t.Errorf("event %d: payload %s", i, e.Payload)
		}
	}
	want := `{"text":"one <b>","timestamp":"2026-01-27T10:00:00.123456Z","source":"mobile-client",` +
		`"session_id":"0198c0de-0000-7000-8000-000000000001","target":"tonny","utterance":1,` +
		`"audio_metadata":{"duration_seconds":1.22,"sample_rate":16000,"confidence":0.877,"language":"en-US","start_seconds":0.3,"end_seconds":1.52}}`
	if got := string(events[1].Payload); got != want {
		t.Errorf("payload\n%s, want\n%s", got, want)
	}
	if p := payload(t, events[4]); p["reason"] != "end" || p["utterances"] != 3.0 || p["audio_seconds"] != 7.4 {
		t.Errorf("closing payload %s", events[4].Payload)
	}
	checkFinals(t, updates(), events[1:4])
}

func checkFinals(t *testing.T, updates []voice.Update, events []bloodbank.Envelope) {
	t.Helper()
	var texts []string
	var ids []bloodbank.EventID
	for _, u := range updates {
		if u.Kind != voice.KindFinal {
			continue
		}
		texts = append(texts, u.Text)
		if u.Text != "" {
			ids = append(ids, u.Event)
		}
	}
	if want := []string{"one <b>", "two", "", "four"}; !reflect.DeepEqual(texts, want) {
		t.Errorf("finals %q, want %q", texts, want)
	}
	for i, e := range events {
		if ids[i] != e.EventID {
			t.Errorf("final %d names event %s, published as %s", i, ids[i], e.EventID)
		}
	}
}

func TestSessionLeavesOutWhatIsUnknown(t *testing.T) {
	t.Parallel()
	s, l, _ := open(t, voice.SessionOptions{}, recognisertest.Script{
		Finals: []string{"hello"},
		Result: voice.Transcription{Language: "english", Model: "small", Speaker: "2"},
	})
	if err := s.Write(t.Context(), said(1, time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.End(t.Context(), voice.ReasonEnd); err != nil {
		t.Fatal(err)
	}
	got := string(l.all()[1].Payload)
	if strings.Contains(got, "null") || strings.Contains(got, "target") || strings.Contains(got, "english") {
		t.Errorf("payload %s", got)
	}
	if !strings.HasSuffix(got, `"audio_metadata":{"duration_seconds":1.52,"sample_rate":16000,"model":"small","speaker_id":"2","start_seconds":0.3,"end_seconds":1.82}}`) ||
		!strings.Contains(got, `"source":"whisperlivekit"`) {
		t.Errorf("payload %s", got)
	}
}

func TestSessionInterimComesBeforeItsFinal(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	s, _, updates := open(t, voice.SessionOptions{}, recognisertest.Script{
		Finals: []string{"ask not what"}, Interim: "ask not what your", Hold: hold,
	})
	if err := s.Write(t.Context(), said(1, 4*time.Second)); err != nil {
		t.Fatal(err)
	}
	close(hold)
	if _, err := s.End(t.Context(), voice.ReasonEnd); err != nil {
		t.Fatal(err)
	}
	last := voice.KindStarted
	for _, u := range updates() {
		if u.Kind < last {
			t.Errorf("an update of kind %d after one of kind %d", u.Kind, last)
		}
		last = u.Kind
		if u.Kind == voice.KindInterim && !strings.HasPrefix("ask not what your", u.Text) {
			t.Errorf("interim text %q", u.Text)
		}
	}
	if last != voice.KindFinal {
		t.Errorf("the last update is of kind %d", last)
	}
}

func TestSessionSpeechThatFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("worker died")
	s, l, updates := open(t, voice.SessionOptions{}, recognisertest.Script{
		Finals: []string{"one", "", "three"}, Failures: map[int]error{2: broken},
	})
	if err := s.Write(t.Context(), said(3, 500*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	totals, err := s.End(t.Context(), voice.ReasonEnd)
	if err != nil || totals.Utterances != 2 || totals.Failed != 1 {
		t.Fatalf("totals %+v, error %v", totals, err)
	}
	var failed []voice.Update
	for _, u := range updates() {
		if u.Kind == voice.KindFailed {
			failed = append(failed, u)
		}
	}
	if len(failed) != 1 || failed[0].Utterance != 2 || !errors.Is(failed[0].Err, broken) || failed[0].End <= failed[0].Start {
		t.Errorf("failures %+v", failed)
	}
	if n := len(l.all()); n != 4 {
		t.Errorf("%d events, want 4", n)
	}
}

func TestSessionTellsWhenPublishingFails(t *testing.T) {
	t.Parallel()
	full := bloodbank.Errorf(bloodbank.CodeStorageFull, "the disk is full")
	l := &ledger{refuse: func(e bloodbank.Envelope) error {
		if strings.Contains(string(e.Payload), `"second"`) {
			return full
		}
		return nil
	}}
	s, _, updates := open(t, voice.SessionOptions{Emitter: l}, recognisertest.Script{Finals: []string{"first", "second", "third"}})
	if err := s.Write(t.Context(), said(3, 500*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	totals, err := s.End(t.Context(), voice.ReasonEnd)
	if err != nil || totals.Utterances != 2 || totals.Failed != 1 {
		t.Fatalf("totals %+v, error %v", totals, err)
	}
	for _, u := range updates() {
		if u.Utterance == 2 && u.Kind > voice.KindEnded &&
			(u.Kind != voice.KindFailed || u.Text != "second" || bloodbank.CodeOf(u.Err) != bloodbank.CodeStorageFull) {
			t.Errorf("update %+v", u)
		}
	}
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o      voice.SessionOptions
		script recognisertest.Script
		is     error
		code   bloodbank.Code
	}{
		"source":      {o: voice.SessionOptions{Source: "phone"}, code: bloodbank.CodeInvalid},
		"language":    {o: voice.SessionOptions{Language: "fr"}, is: voice.ErrLanguage, code: bloodbank.CodeInternal},
		"recogniser":  {script: recognisertest.Script{Unavailable: voice.ErrUnavailable}, is: voice.ErrUnavailable, code: bloodbank.CodeInternal},
		"endpointing": {o: voice.SessionOptions{Endpoint: audio.EndpointSettings{Max: time.Hour}}, code: bloodbank.CodeInternal},
		"emitter": {o: voice.SessionOptions{Emitter: &ledger{refuse: func(bloodbank.Envelope) error {
			return bloodbank.Errorf(bloodbank.CodeStorageFull, "full")
		}}}, code: bloodbank.CodeStorageFull},
	} {
		l, ok := c.o.Emitter.(*ledger)
		if !ok {
			l = &ledger{}
			c.o.Emitter = l
		}
		r := recognisertest.NewScripted(c.script)
		c.o.Recogniser = r
		_, err := voice.Open(t.Context(), c.o)
		if err == nil || bloodbank.CodeOf(err) != c.code || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: error %v", name, err)
		}
		if n := len(l.all()); n != 0 {
			t.Errorf("%s: %d events of a session that never was", name, n)
		}
		r.Close()
	}
}

func TestSessionRefusesOtherFormats(t *testing.T) {
	t.Parallel()
	s, l, _ := open(t, voice.SessionOptions{}, recognisertest.Script{})
	if err := s.Write(t.Context(), []byte("\x1a\x45\xdf\xa3aaaaaaaa")); !errors.Is(err, audio.ErrFormat) {
		t.Fatalf("error %v", err)
	}
	if _, err := s.End(t.Context(), voice.ReasonError); err != nil {
		t.Errorf("End: %v", err)
	}
	if p := payload(t, l.all()[1]); p["reason"] != "error" || p["utterances"] != 0.0 {
		t.Errorf("closing payload %v", p)
	}
	if err := s.Write(t.Context(), []byte{1}); !errors.Is(err, voice.ErrClosed) {
		t.Errorf("Write after End: %v", err)
	}
}

// Speech that nobody transcribes yet is held, up to the limit; then Write waits. No
// sample is lost, whoever waits.
func TestSessionBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		var finals []string
		for i := range 60 {
			finals = append(finals, fmt.Sprint("utterance ", i))
		}
		s, l, _ := open(t, voice.SessionOptions{}, recognisertest.Script{Finals: finals, Hold: hold})
		wrote := make(chan error, 1)
		go func() { wrote <- s.Write(t.Context(), said(60, 900*time.Millisecond)) }()
		synctest.Wait()
		if got := s.Progress(); got.Finished != 300*time.Millisecond {
			t.Errorf("finished %s before anything was transcribed", got.Finished)
		}
		select {
		case err := <-wrote:
			t.Fatalf("Write of 60 utterances did not wait (error %v)", err)
		default:
		}
		close(hold)
		if err := <-wrote; err != nil {
			t.Fatal(err)
		}
		totals, err := s.End(t.Context(), voice.ReasonEnd)
		if err != nil || totals.Utterances != 60 {
			t.Fatalf("totals %+v, error %v", totals, err)
		}
		for i, e := range l.all()[1:61] {
			if got := payload(t, e)["text"]; got != finals[i] {
				t.Errorf("event %d says %q", i, got)
			}
		}
	})
}

func TestSessionWriteWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		s, _, _ := open(t, voice.SessionOptions{}, recognisertest.Script{Hold: hold})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Write(ctx, said(60, 900*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
		close(hold)
		if _, err := s.End(t.Context(), voice.ReasonEnd); err != nil {
			t.Error(err)
		}
	})
}

// A session whose time is over gives up what is open, says so, and still closes.
func TestSessionEndGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, _ := open(t, voice.SessionOptions{}, recognisertest.Script{Finals: []string{"never"}, Hold: make(chan struct{})})
		if err := s.Write(t.Context(), said(2, time.Second)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		totals, _ := s.End(ctx, voice.ReasonShutdown)
		if totals.Utterances != 0 || totals.Failed != 2 {
			t.Errorf("totals %+v", totals)
		}
		events := l.all()
		if p := payload(t, events[len(events)-1]); p["reason"] != "shutdown" || p["failed"] != 2.0 {
			t.Errorf("closing payload %v", p)
		}
	})
}

func TestSessionSpeechAtTheEndOfTheStream(t *testing.T) {
	t.Parallel()
	s, l, _ := open(t, voice.SessionOptions{}, recognisertest.Script{Finals: []string{"cut off"}})
	b := said(1, time.Second)
	if err := s.Write(t.Context(), b[:len(b)-2*audio.SampleRate-3201]); err != nil {
		t.Fatal(err)
	}
	if _, err := s.End(t.Context(), voice.ReasonDisconnected); err != nil {
		t.Fatal(err)
	}
	if n := len(l.all()); n != 3 {
		t.Errorf("%d events, want 3", n)
	}
}

func TestFeaturesLanguage(t *testing.T) {
	t.Parallel()
	f := voice.Features{Languages: []string{"en-US", "de-DE"}}
	for wish, want := range map[string]string{"": "en-US", "auto": "en-US", "en": "en-US", "EN-us": "en-US", "de": "de-DE"} {
		if got, err := f.Language(wish); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", wish, got, err, want)
		}
	}
	if _, err := f.Language("fr"); !errors.Is(err, voice.ErrLanguage) {
		t.Errorf("fr: %v", err)
	}
}

// Samples whose layout is known are taken as such, whatever they begin with.
func TestRawAudioIsNotGuessedAt(t *testing.T) {
	t.Parallel()
	s, _, _ := open(t, voice.SessionOptions{Audio: audio.Options{Raw: audio.RawFormat{Encoding: audio.Mulaw, Rate: 8000}}}, recognisertest.Script{})
	if err := s.Write(t.Context(), append([]byte("RIFF....WAVE"), make([]byte, 8000-12)...)); err != nil {
		t.Fatal(err)
	}
	totals, err := s.End(t.Context(), voice.ReasonEnd)
	if err != nil || totals.Audio < 990*time.Millisecond || totals.Audio > 1010*time.Millisecond {
		t.Errorf("%s of audio, want 1s; error %v", totals.Audio, err)
	}
	_, err = voice.Open(t.Context(), voice.SessionOptions{
		Audio:      audio.Options{Raw: audio.RawFormat{Rate: 11}},
		Recogniser: recognisertest.NewScripted(recognisertest.Script{}), Emitter: &ledger{},
	})
	if bloodbank.CodeOf(err) != bloodbank.CodeInvalid {
		t.Errorf("a rate of 11: %v", err)
	}
}
