package files

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice/subtitles"
)

type plain struct {
	Text  string `json:"text"`
	Usage usage  `json:"usage"`
}

type verbose struct {
	Task     string     `json:"task"`
	Language string     `json:"language"` // "unknown" if it is
	Duration seconds    `json:"duration"`
	Text     string     `json:"text"`
	Words    *[]word    `json:"words,omitempty"`
	Segments *[]segment `json:"segments,omitempty"`
	Usage    usage      `json:"usage"`
}

type word struct {
	Word  string  `json:"word"`
	Start seconds `json:"start"`
	End   seconds `json:"end"`
}

type segment struct {
	ID      int     `json:"id"`
	Start   seconds `json:"start"`
	End     seconds `json:"end"`
	Text    string  `json:"text"`
	EventID string  `json:"event_id"` // of the published event; ours
}

type usage struct {
	Type    string `json:"type"`
	Seconds int    `json:"seconds"` // begun ones count
}

// seconds are on the recording's clock, to the millisecond.
type seconds float64

func inSeconds(d time.Duration) seconds { return seconds(math.Round(d.Seconds()*1000) / 1000) }

func (f *form) answer(w http.ResponseWriter, h *recording) error {
	var b bytes.Buffer
	var err error
	kind := "text/plain; charset=utf-8"
	switch f.format {
	case "text":
		b.WriteString(h.text() + "\n")
	case "srt":
		err = subtitles.WriteSRT(&b, h.subtitles())
	case "vtt":
		err = subtitles.WriteVTT(&b, h.subtitles())
	case "verbose_json":
		kind, err = "application/json", encode(&b, f.verbose(h))
	default:
		kind, err = "application/json", encode(&b, plain{h.text(), h.usage()})
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(b.Bytes()) // whoever is gone needs no answer
	return nil
}

func encode(b *bytes.Buffer, v any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func (f *form) verbose(h *recording) verbose {
	v := verbose{Task: "transcribe", Language: h.language, Duration: inSeconds(h.duration), Text: h.text(), Usage: h.usage()}
	if v.Language == "" {
		v.Language = "unknown"
	}
	words, segments := []word{}, []segment{}
	for i, u := range h.finals {
		segments = append(segments, segment{i, inSeconds(u.Start), inSeconds(u.End), u.Text, u.Event.String()})
		for _, w := range u.Final.Words {
			words = append(words, word{w.Text, inSeconds(w.Start), inSeconds(w.End)})
		}
	}
	if f.words {
		v.Words = &words
	}
	if f.segments {
		v.Segments = &segments
	}
	return v
}

func (h *recording) text() string {
	var texts []string
	for _, u := range h.finals {
		texts = append(texts, u.Text)
	}
	return strings.Join(texts, " ")
}

func (h *recording) subtitles() (all []subtitles.Cue) {
	for _, u := range h.finals {
		all = append(all, subtitles.Cue{Start: u.Start, End: u.End, Text: u.Text})
	}
	return all
}

func (h *recording) usage() usage {
	return usage{"duration", int(math.Ceil(h.duration.Seconds()))}
}

// refusal is an error for the clients of upstream, who read detail, and of OpenAI.
type refusal struct {
	Detail string `json:"detail"`
	Error  fault  `json:"error"`
}

type fault struct {
	Message string         `json:"message"`
	Type    string         `json:"type"`
	Param   *string        `json:"param"` // always null
	Code    bloodbank.Code `json:"code"`
}

func refuse(w http.ResponseWriter, status int, err error) {
	f := fault{Message: err.Error(), Type: "invalid_request_error", Code: bloodbank.CodeOf(err)}
	if errors.Is(err, errSlow) {
		f.Code = bloodbank.CodeTimeout
	}
	switch {
	case status == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
		f.Type = "server_error"
	case status == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case status == http.StatusRequestTimeout, status == http.StatusRequestEntityTooLarge:
		w.Header().Set("Connection", "close") // the rest of the upload is not read
	case status >= http.StatusInternalServerError:
		f.Type = "server_error"
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(refusal{Detail: f.Message, Error: f})
}
