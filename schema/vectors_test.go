package schema_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/33god/bloodbank"
)

type vector struct {
	ID        string              `json:"id"`
	Type      bloodbank.EventType `json:"event_type"`
	Reason    string              `json:"reason"`
	Path      string              `json:"path"`
	Keyword   string              `json:"keyword"`
	Also      []string            `json:"also"`
	Payload   json.RawMessage     `json:"payload"`
	PayloadIn json.RawMessage     `json:"payload_in"`
	Envelope  struct {
		Type    bloodbank.EventType `json:"event_type"`
		Payload json.RawMessage     `json:"payload"`
	} `json:"envelope"`
}

// details returns the faults of a refusal, which must be one for the schema.
func details(t *testing.T, err error) []bloodbank.Detail {
	t.Helper()
	var e *bloodbank.Error
	if !errors.As(err, &e) || e.Code != bloodbank.CodeSchema {
		t.Fatalf("got %v, want a refusal with code %s", err, bloodbank.CodeSchema)
	}
	if len(e.Details) == 0 {
		t.Fatalf("%v has no details", err)
	}
	return e.Details
}

// pointer turns the vectors' "a.b.0" into "/a/b/0".
func pointer(path string) string {
	if path == "" {
		return ""
	}
	return "/" + strings.ReplaceAll(path, ".", "/")
}

// said are the words by which a message shows which keyword was broken.
func said(keyword string) string {
	return map[string]string{
		"required": "is missing", "type": "must be ", "minLength": "or more, has", "format": "must be a ", "enum": "must be one of",
		"minimum": "or more, not", "maximum": "or less, not", "pattern": "must match the pattern",
	}[keyword]
}

func has(list []bloodbank.Detail, pointer, words string) bool {
	for _, d := range list {
		if d.Pointer == pointer && strings.Contains(d.Message, words) {
			return true
		}
	}
	return false
}

func TestPayloadsThatTheOriginalRefuses(t *testing.T) {
	t.Parallel()
	r := open(t, "")
	list := vectors[vector](t, "payloads_invalid.jsonl")
	if len(list) != 311 {
		t.Fatalf("%d vectors, want 311", len(list))
	}
	for _, v := range list {
		got := details(t, r.Validate(v.Type, v.Payload))
		if strings.HasPrefix(v.Reason, "missing required ") {
			i := strings.LastIndexByte("/"+v.Path, '/')
			parent, name := pointer(v.Path)[:i], v.Path[i:]
			if !has(got, parent, `"`+name+`" is missing`) {
				t.Errorf("%s (%s): got %v", v.ID, v.Reason, got)
			}
			continue
		}
		if len(got) != 1 || got[0].Pointer != pointer(v.Path) {
			t.Errorf("%s (%s): got %v, want one fault at %s", v.ID, v.Reason, got, pointer(v.Path))
		}
	}
}

func TestTranscriptionsRefused(t *testing.T) {
	t.Parallel()
	r := open(t, "")
	list := vectors[vector](t, "transcription_invalid.jsonl")
	if len(list) != 71 {
		t.Fatalf("%d vectors, want 71", len(list))
	}
	for _, v := range list {
		got := details(t, r.Validate(bloodbank.TypeVoiceCompleted, v.Payload))
		if said(v.Keyword) == "" {
			t.Fatalf("no words known for %s", v.Keyword)
		}
		if !has(got, pointer(v.Path), said(v.Keyword)) {
			t.Errorf("%s (%s): got %v, want %s at %q", v.ID, v.Reason, got, v.Keyword, pointer(v.Path))
		}
		for _, also := range v.Also {
			path, keyword, _ := strings.Cut(also, ":")
			if !has(got, pointer(path), said(keyword)) {
				t.Errorf("%s (%s): got %v, want %s too", v.ID, v.Reason, got, also)
			}
		}
	}
}

func TestTranscriptionsAccepted(t *testing.T) {
	t.Parallel()
	r := open(t, "")
	list := vectors[vector](t, "transcription_valid.jsonl")
	if len(list) != 46 {
		t.Fatalf("%d vectors, want 46", len(list))
	}
	for _, v := range list {
		if err := r.Validate(bloodbank.TypeVoiceCompleted, v.Payload); err != nil {
			t.Errorf("%s: %v", v.ID, err)
		}
	}
}

func TestPayloadsThatTheOriginalAccepts(t *testing.T) {
	t.Parallel()
	r := open(t, "")
	checked := 0
	for _, v := range vectors[vector](t, "envelopes_valid.jsonl") {
		if _, known := r.Lookup(string(v.Envelope.Type)); !known {
			continue
		}
		for _, payload := range []json.RawMessage{v.PayloadIn, v.Envelope.Payload} {
			if payload == nil {
				continue
			}
			checked++
			if err := r.Validate(v.Envelope.Type, payload); err != nil {
				t.Errorf("%s: %v", v.ID, err)
			}
		}
	}
	if checked < 120 {
		t.Errorf("only %d payloads were checked", checked)
	}
}
