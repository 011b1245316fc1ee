package asrws

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
)

// heard is a message of mode diff as a client decodes it.
type heard struct {
	Type   string `json:"type"`
	Seq    int    `json:"seq"`
	Count  int    `json:"n_lines"`
	Pruned int    `json:"lines_pruned"`
	Lines  []line `json:"lines"`
	New    []line `json:"new_lines"`
}

// follower is a client of mode diff, with both rules that are in the world.
type follower struct {
	seq        int
	documented []line // upstream's documentation and its test client
	fitting    []line // what fits upstream's server
}

func (f *follower) read(m any) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var h heard
	if err := json.Unmarshal(b, &h); err != nil {
		return err
	}
	if f.seq++; h.Seq != f.seq {
		return fmt.Errorf("seq %d, want %d", h.Seq, f.seq)
	}
	switch h.Type {
	case "snapshot":
		f.documented, f.fitting = slices.Clone(h.Lines), slices.Clone(h.Lines)
		return nil
	case "diff":
	default:
		return fmt.Errorf("unknown type %q", h.Type)
	}
	if h.Pruned > len(f.documented) || h.Pruned > len(f.fitting) {
		return fmt.Errorf("%d lines pruned of %d", h.Pruned, len(f.fitting))
	}
	f.documented = append(slices.Clone(f.documented[h.Pruned:]), h.New...)
	kept := h.Count - len(h.New)
	f.fitting = f.fitting[h.Pruned:]
	if kept < 0 || kept > len(f.fitting) {
		return fmt.Errorf("%d lines to keep of %d", kept, len(f.fitting))
	}
	f.fitting = append(slices.Clone(f.fitting[:kept]), h.New...)
	return nil
}

// check sends the lines and compares what the client then has.
func (f *follower) check(d *differ, lines []line) error {
	if err := f.read(d.message(state{Status: statusActive, Lines: lines})); err != nil {
		return err
	}
	for rule, got := range map[string][]line{"documented": f.documented, "fitting": f.fitting} {
		if !slices.Equal(got, lines) {
			return fmt.Errorf("the %s rule gives %v, want %v", rule, got, lines)
		}
	}
	return nil
}

// change is one step of a history: b chooses among what lines may do.
func change(lines []line, b byte) []line {
	next := slices.Clone(lines)
	n := int(b >> 3)
	made := func() line {
		return line{Speaker: 1, Text: fmt.Sprint("word ", n%5), Start: clock(time.Duration(n) * time.Second)}
	}
	switch b & 7 {
	case 0, 1, 2: // mostly lines are appended
		return append(next, made())
	case 3: // and cut off in front
		return next[min(n, len(next)):]
	case 4: // both at once
		return append(next[min(n, len(next)):], made(), made())
	case 5: // upstream rewrites the last one
		if len(next) > 0 {
			next[len(next)-1].Text += " more"
		}
	case 6: // or any
		if len(next) > 0 {
			next[n%len(next)].Speaker++
		}
	case 7: // or takes some back
		return next[:len(next)-min(n%3, len(next))]
	}
	return next
}

func play(history []byte) error {
	var d differ
	var f follower
	var lines []line
	for i, b := range history {
		lines = change(lines, b)
		if err := f.check(&d, lines); err != nil {
			return fmt.Errorf("step %d of %v: %w", i, history, err)
		}
	}
	return nil
}

// Whatever becomes of the lines, both rules have them.
func TestBothRulesOfModeDiff(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(4, 2))
	for range 500 {
		history := make([]byte, 1+r.IntN(40))
		for i := range history {
			history[i] = byte(r.Uint32())
		}
		if err := play(history); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzDiff(f *testing.F) {
	f.Add([]byte{0, 8, 16, 3, 5, 6, 7})
	f.Fuzz(func(t *testing.T, history []byte) {
		if err := play(history[:min(len(history), 200)]); err != nil {
			t.Fatal(err)
		}
	})
}

// A long session through a board: lines go, but what is sent stays small, and a
// difference never is all lines again.
func TestBoardIsBounded(t *testing.T) {
	t.Parallel()
	var b board
	var d differ
	var f follower
	for i := range 3 * maxLines {
		b.apply(voice.Update{Kind: voice.KindInterim, Utterance: i + 1, Text: "said"})
		b.apply(voice.Update{Kind: voice.KindFinal, Utterance: i + 1, Text: fmt.Sprint("said ", i), Final: &voice.Transcription{}})
		s := b.state(voice.Progress{})
		if want := min(i+1, maxLines); len(s.Lines) != want || s.Dropped != i+1-want || s.Utterance != i+1 {
			t.Fatalf("after %d: %d lines, %d dropped, last utterance %d", i+1, len(s.Lines), s.Dropped, s.Utterance)
		}
		if i%97 != 0 && i < 3*maxLines-1 {
			continue
		}
		m := d.message(s)
		if m, ok := m.(difference); ok && len(m.New) > 97 {
			t.Fatalf("%d new lines", len(m.New))
		}
		if err := f.read(m); err != nil {
			t.Fatal(err)
		}
	}
	want := b.state(voice.Progress{}).Lines
	for _, lines := range [][]line{f.documented, f.fitting} {
		if len(lines) != maxLines || lines[0].Text != "said 2000" || lines[maxLines-1].Text != want[maxLines-1].Text {
			t.Errorf("%d lines, from %v to %v", len(lines), lines[0], lines[len(lines)-1])
		}
	}
}

func TestBoard(t *testing.T) {
	t.Parallel()
	final := func(n int, text, speaker string) voice.Update {
		return voice.Update{Kind: voice.KindFinal, Utterance: n, Text: text, Final: &voice.Transcription{Speaker: speaker}}
	}
	var b board
	for i, speaker := range []string{"", "anna", "bert", "anna", "7"} {
		b.apply(final(i+1, "x", speaker))
	}
	var speakers []int
	for _, l := range b.lines {
		speakers = append(speakers, l.Speaker)
	}
	if !reflect.DeepEqual(speakers, []int{1, 1, 2, 1, 7}) {
		t.Errorf("speakers %v", speakers)
	}
	b.apply(voice.Update{Kind: voice.KindFailed, Utterance: 6, Err: errors.New("the worker died")})
	if s := b.state(voice.Progress{}); s.Error != "the worker died" || s.Status != statusActive || len(s.Lines) != 5 {
		t.Errorf("after a lost utterance: %+v", s)
	}
	b.apply(final(7, "", ""))
	if s := b.state(voice.Progress{}); s.Error != "" || len(s.Lines) != 5 || s.Utterance != 7 {
		t.Errorf("after one without words: %+v", s)
	}
	b.fatal = "no such format"
	b.apply(final(8, "y", ""))
	if s := b.state(voice.Progress{}); s.Error != b.fatal || s.Status != statusError || len(s.Lines) != 6 {
		t.Errorf("what is fatal does not stay: %+v", s)
	}
	if b.apply(voice.Update{Kind: voice.KindStarted}) || b.apply(voice.Update{Kind: voice.KindEnded}) {
		t.Error("a difference that clients cannot see")
	}
	for range 2 * maxSpeakers {
		b.apply(final(9, "z", fmt.Sprint("speaker ", len(b.lines))))
	}
	if len(b.speakers) != maxSpeakers {
		t.Errorf("%d names kept", len(b.speakers))
	}
}

// compact is the example as the original sends it, but with the numbers as we write
// them, since JSON does not tell 0 from 0.0.
func compact(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// The messages of the original, key by key in its order.
func TestGoldenMessages(t *testing.T) {
	t.Parallel()
	spoken := func(speaker int, text string, from, to time.Duration, language string) line {
		return line{Speaker: speaker, Text: text, Start: clock(from), End: clock(to), Language: language, from: from, to: to}
	}
	const ms = time.Millisecond
	silent := (&board{}).state(voice.Progress{})
	active := state{Status: statusActive, Lines: []line{
		spoken(1, " Hello world, how are you?", 320*ms, 2960*ms, ""),
		spoken(-2, "", 2960*ms, 9100*ms, ""),
		spoken(2, " I am fine.", 9100*ms, 10400*ms, "en"),
	}}
	active.Interim, active.Lag, active.Compute, active.Policy, active.DiarizeLag =
		" And you", seconds(1200*ms), seconds(400*ms), seconds(800*ms), seconds(500*ms)
	again := state{Status: statusActive, Lines: []line{spoken(1, "b", 0, 0, ""), spoken(1, "c", 0, 0, ""), spoken(1, "again", 9*time.Second, 10*time.Second, "")}}
	again.Interim = "x"
	d := differ{seq: 3, told: append([]line{spoken(1, "a", 0, 0, "")}, again.Lines[:2]...)}
	broken := (&board{fatal: "FFmpeg failed to start. Please check that FFmpeg is installed."}).state(voice.Progress{})
	old := state{Status: statusActive, Lines: []line{spoken(1, "Hello, how are you", 0, 2480*ms, "en")}}
	old.Interim, old.Lag = " doing", seconds(1200*ms)
	opening := state{Status: statusActive, Lines: []line{}, extras: extras{FinishedMS: 3700}}
	opening.Interim = "and"
	const (
		buffers = `"buffer_transcription":"","buffer_diarization":"","buffer_translation":"",`
		lags    = `"remaining_time_transcription":0.0,"remaining_time_transcription_processing":0.0,` +
			`"remaining_time_transcription_policy":0.0,"remaining_time_diarization":0.0`
	)
	for name, c := range map[string]struct {
		message any
		want    string
	}{
		"first": {full{}.message(silent), `{"status":"no_audio_detected","lines":[],` + buffers + lags + `}`},
		"full": {full{}.message(active), `{"status":"active_transcription","lines":[` +
			`{"speaker":1,"text":" Hello world, how are you?","start":"0:00:00.32","end":"0:00:02.96"},` +
			`{"speaker":-2,"text":"","start":"0:00:02.96","end":"0:00:09.10"},` +
			`{"speaker":2,"text":" I am fine.","start":"0:00:09.10","end":"0:00:10.40","detected_language":"en"}],` +
			`"buffer_transcription":" And you","buffer_diarization":"","buffer_translation":"",` +
			`"remaining_time_transcription":1.2,"remaining_time_transcription_processing":0.4,` +
			`"remaining_time_transcription_policy":0.8,"remaining_time_diarization":0.5}`},
		"error": {full{}.message(broken), `{"status":"error","lines":[],` + buffers + lags +
			`,"error":"FFmpeg failed to start. Please check that FFmpeg is installed."}`},
		"refusal": {failure{"error", "FunASR SenseVoiceSmall supports only: auto, en, ja, ko, yue, zh."},
			`{"type":"error","error":"FunASR SenseVoiceSmall supports only: auto, en, ja, ko, yue, zh."}`},
		"end":      {stopped{"ready_to_stop"}, `{"type":"ready_to_stop"}`},
		"snapshot": {(&differ{}).message(silent), `{"type":"snapshot","seq":1,"status":"no_audio_detected","lines":[],` + buffers + lags + `}`},
		"diff": {d.message(again), `{"type":"diff","seq":4,"status":"active_transcription","n_lines":3,` +
			`"buffer_transcription":"x","buffer_diarization":"","buffer_translation":"",` + lags +
			`,"lines_pruned":1,"new_lines":[{"speaker":1,"text":"again","start":"0:00:09.00","end":"0:00:10.00"}]}`},
		"0.2.8": {legacy{}.message(old), `{"status":"active_transcription","lines":[` +
			`{"speaker":1,"text":"Hello, how are you","start":"0:00:00","end":"0:00:02","beg":"0:00:00","diff":2.48}],` +
			`"buffer_transcription":" doing","buffer_diarization":"","remaining_time_transcription":1.2,"remaining_time_diarization":0.0}`},
		"0.2.8 without a line": {legacy{}.message(opening), `{"status":"active_transcription","lines":[` +
			`{"speaker":1,"text":"","start":"0:00:03","end":"0:00:03","beg":"0:00:03","diff":0}],` +
			`"buffer_transcription":"and","buffer_diarization":"","remaining_time_transcription":0.0,"remaining_time_diarization":0.0}`},
		"0.2.8 first": {legacy{}.message(silent), `{"status":"no_audio_detected","lines":[],` +
			`"buffer_transcription":"","buffer_diarization":"","remaining_time_transcription":0.0,"remaining_time_diarization":0.0}`},
	} {
		if got := compact(t, c.message); got != c.want {
			t.Errorf("%s:\n%s, want\n%s", name, got, c.want)
		}
	}
}

func TestClocks(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration][2]string{
		-time.Second:                          {"0:00:00.00", "0:00:00"},
		2994 * time.Millisecond:               {"0:00:02.99", "0:00:02"},
		2996 * time.Millisecond:               {"0:00:03.00", "0:00:02"},
		59*time.Minute + 59999*1e6:            {"1:00:00.00", "0:59:59"},
		123*time.Hour + 4*time.Minute + 5*1e9: {"123:04:05.00", "123:04:05"},
	} {
		if got := [2]string{clock(d), oldClock(d)}; got != want {
			t.Errorf("%s: %v, want %v", d, got, want)
		}
	}
}

func TestControl(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]command{
		``: commandNone, `hello`: commandNone, `[]`: commandNone, `null`: commandNone, `"Finalize"`: commandNone,
		`{"type":"KeepAlive"}`: commandNone, `{"type":"config"}`: commandNone, `{"type":1}`: commandNone,
		`{"type":"finalize"}`: commandNone, `{"type":"audio","data":"00"}`: commandNone,
		`{"type":"Finalize"}`: commandFinalize, ` {"x":[], "type" : "Finalize"} `: commandFinalize,
		`{"type":"CloseStream"}`: commandEnd,
		`{"type":"CloseStream","x":"` + string(bytes.Repeat([]byte("x"), maxControl)) + `"}`: commandNone,
	} {
		if got := parseControl([]byte(text)); got != want {
			t.Errorf("%.60s: %d, want %d", text, got, want)
		}
	}
}

func FuzzTextFrame(f *testing.F) {
	for _, text := range []string{``, `{`, `{"type":"KeepAlive"}`, `{"type":"Finalize"}`, `{"type":"CloseStream"}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		then := parseControl(b)
		if then != commandNone && (len(b) > maxControl || !json.Valid(b) || !bytes.Contains(bytes.ToLower(b), []byte(`type`)) && !bytes.Contains(b, []byte(`\u`))) {
			t.Errorf("%q is taken for command %d", b, then)
		}
	})
}

func TestParams(t *testing.T) {
	t.Parallel()
	const id = "0198c0de-0000-7000-8000-000000000001"
	f := voice.Features{Languages: []string{"en-US"}}
	p, err := parseParams(map[string][]string{
		"language": {"en"}, "mode": {"diff"}, "source": {"desktop-client"}, "target": {"tonny"}, "session_id": {id}, "resume_token": {"t"},
		"after": {"12"}, "endpoint_ms": {"200"}, "max_utterance_ms": {"29000"}, "target_language": {"fra_Latn"}, "whatever": {"x"},
	}, f)
	if err != nil || p.mode != "diff" || p.source != "desktop-client" || p.target != "tonny" || p.resumes().String() != id || p.token != "t" ||
		p.after != 12 || p.endpoint.End != 200*time.Millisecond || p.endpoint.Max != 29*time.Second {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := parseParams(map[string][]string{"mode": {"quick"}, "compat": {"0.2.8"}, "after": {"0"}}, f); err != nil || p.mode != "quick" || !p.legacy {
		t.Errorf("%+v, %v", p, err)
	}
	for _, c := range [][2]string{
		{"endpoint_ms", "199"}, {"endpoint_ms", "5001"}, {"endpoint_ms", "abc"}, {"endpoint_ms", "9223372036854775807"}, {"endpoint_ms", "1e3"},
		{"endpoint_ms", "-600"}, {"max_utterance_ms", "1999"}, {"max_utterance_ms", "29001"}, {"max_utterance_ms", "99999999999999999999"},
		{"after", "-1"}, {"after", "x"}, {"after", "3"}, {"resume_token", "t"}, {"session_id", "1"}, {"compat", "0.2.7"}, {"source", "phone"},
		{"mode", string(bytes.Repeat([]byte("m"), maxMode+1))},
	} {
		_, err := parseParams(map[string][]string{c[0]: {c[1]}}, f)
		if bloodbank.CodeOf(err) != bloodbank.CodeInvalid || !bytes.Contains([]byte(err.Error()), []byte(c[0])) {
			t.Errorf("%s=%s: %v", c[0], c[1], err)
		}
	}
	if _, err := parseParams(map[string][]string{"mode": {"diff"}, "compat": {"0.2.8"}}, f); err == nil {
		t.Error("0.2.8 has no mode diff")
	}
}
