package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/voice/subtitles"
)

// maxTranscript is how many utterances a transcript has at the most; that is days
// of speech.
const maxTranscript = 50_000

// utterance is one of a session, as a line of a transcript.
type utterance struct {
	EventID    bloodbank.EventID `json:"event_id"`
	Timestamp  string            `json:"timestamp"`
	Start      float64           `json:"start_seconds"` // since the session was opened
	End        float64           `json:"end_seconds"`
	Speaker    string            `json:"speaker"`
	Language   string            `json:"language"`
	Confidence *float64          `json:"confidence"`
	Text       string            `json:"text"`
}

// transcriptFormat writes a transcript.
type transcriptFormat struct {
	media string
	write func(b *bytes.Buffer, all []utterance) error
}

func transcriptFormats() map[string]transcriptFormat {
	cues := func(all []utterance) []subtitles.Cue {
		list := make([]subtitles.Cue, len(all))
		for i, u := range all {
			list[i] = subtitles.Cue{Start: fromSeconds(u.Start), End: fromSeconds(u.End), Text: u.Text}
		}
		return list
	}
	return map[string]transcriptFormat{
		"srt": {"application/x-subrip; charset=utf-8", func(b *bytes.Buffer, all []utterance) error { return subtitles.WriteSRT(b, cues(all)) }},
		"vtt": {"text/vtt; charset=utf-8", func(b *bytes.Buffer, all []utterance) error { return subtitles.WriteVTT(b, cues(all)) }},
		"txt": {"text/plain; charset=utf-8", func(b *bytes.Buffer, all []utterance) error {
			for _, u := range all {
				if line := strings.Join(strings.Fields(u.Text), " "); line != "" {
					b.WriteString(line + "\n")
				}
			}
			return nil
		}},
		"jsonl": {mediaLines, func(b *bytes.Buffer, all []utterance) error {
			enc := json.NewEncoder(b)
			enc.SetEscapeHTML(false)
			for _, u := range all {
				if err := enc.Encode(u); err != nil {
					return err
				}
			}
			return nil
		}},
	}
}

// transcript answers with what was said in a session, as a file.
func (s *Server) transcript(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("format")
	if name == "" {
		name = "txt"
	}
	format, ok := transcriptFormats()[name]
	if !ok {
		s.fail(w, r, bloodbank.Errorf(bloodbank.CodeInvalid, "format %q is not known; use srt, vtt, txt or jsonl", short(name)))
		return
	}
	all, err := s.utterances(r.Context(), r.PathValue("id"))
	var b bytes.Buffer
	if err == nil {
		err = format.write(&b, all)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Disposition", `attachment; filename="`+fileName("session-"+r.PathValue("id"))+"."+name+`"`)
	s.send(w, http.StatusOK, format.media, b.Bytes())
}

// fileName keeps what every file system and every header takes.
func fileName(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < 0x80 && isPlain(string(r)) {
			return r
		}
		return '_'
	}, text)
	return text[:min(len(text), 100)]
}

// utterances reads those of a session, in the order of speech.
func (s *Server) utterances(ctx context.Context, id string) (all []utterance, err error) {
	list, err := s.sessions()
	if err != nil {
		return nil, err
	}
	session, err := list.Session(ctx, id)
	if err != nil {
		return nil, err
	}
	q := store.Query{Order: store.OldestFirst, Limit: store.MaxLimit, Filter: store.Filter{Terms: []store.Term{
		{Field: store.FieldSession, Values: []store.Value{{Text: id, Phrase: true}}},
		{Field: store.FieldType, Values: []store.Value{{Text: string(bloodbank.TypeVoiceCompleted)}}},
	}}}
	for first := true; first || q.Cursor != ""; first = false {
		page, err := s.o.Store.Query(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range page.Events {
			all = append(all, utteranceOf(&page.Events[i].Envelope, session.Opened))
		}
		if len(all) > maxTranscript {
			return nil, bloodbank.Errorf(bloodbank.CodeTooLarge, "the session has more than %d utterances; take them from GET /export?q=session:%s", maxTranscript, short(quoted(id)))
		}
		q.Cursor = page.Next
	}
	return all, nil
}

// utteranceOf reads an event. One that does not say when it was on the session's
// clock ended when the event was made.
func utteranceOf(e *bloodbank.Envelope, opened time.Time) utterance {
	var p struct {
		Text  string `json:"text"`
		Audio struct {
			Start      *float64 `json:"start_seconds"`
			End        *float64 `json:"end_seconds"`
			Duration   float64  `json:"duration_seconds"`
			Confidence *float64 `json:"confidence"`
			Language   string   `json:"language"`
			Speaker    string   `json:"speaker_id"`
		} `json:"audio_metadata"`
	}
	_ = json.Unmarshal(e.Payload, &p) // what is odd in it stays empty; the text of the others must come
	u := utterance{
		EventID: e.EventID, Timestamp: bloodbank.FormatTimestamp(e.Timestamp), Text: p.Text,
		Speaker: p.Audio.Speaker, Language: p.Audio.Language, Confidence: p.Audio.Confidence,
	}
	u.End = max(0, float64(e.Timestamp.Sub(opened).Milliseconds())/1000)
	if p.Audio.End != nil {
		u.End = max(0, min(*p.Audio.End, maxSeconds))
	}
	u.Start = max(0, u.End-max(0, p.Audio.Duration))
	if p.Audio.Start != nil {
		u.Start = max(0, min(*p.Audio.Start, u.End))
	}
	return u
}

// maxSeconds is a year: no session lasts longer.
const maxSeconds = 366 * 24 * 3600

func fromSeconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
