package schema_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/schema"
)

func TestEveryTypeIsDescribedAndHasAValidExample(t *testing.T) {
	t.Parallel()
	r := open(t, "")
	infos := r.Types()
	if len(infos) != 37 {
		t.Errorf("%d types, want 37", len(infos))
	}
	if !slices.IsSortedFunc(infos, func(a, b schema.Info) int { return strings.Compare(string(a.Type), string(b.Type)) }) {
		t.Error("Types is not sorted")
	}
	ids := map[string]bloodbank.EventType{}
	for _, info := range infos {
		if info.Title == "" || info.Description == "" || info.Class == "" || info.Domain == "" || info.Origin != schema.OriginEmbedded {
			t.Errorf("%s lacks words: %+v", info.Type, info)
		}
		if want := fmt.Sprintf("urn:33god:holyfields:%s:v1", info.Type); info.SchemaID != want {
			t.Errorf("%s has the id %q, want %q", info.Type, info.SchemaID, want)
		}
		if other, ok := ids[info.SchemaID]; ok {
			t.Errorf("%s and %s share an id", info.Type, other)
		}
		ids[info.SchemaID] = info.Type
		if _, ok := r.Example(info.Type); !ok {
			t.Errorf("%s has no valid example", info.Type)
		}
		checkDocument(t, r, info)
	}
}

// checkDocument holds the schema file against its own name and the house style.
func checkDocument(t *testing.T, r *schema.Registry, info schema.Info) {
	t.Helper()
	doc, ok := r.Schema(info.Type)
	if !ok {
		t.Fatalf("%s has no document", info.Type)
	}
	var head struct {
		Schema    string              `json:"$schema"`
		EventType bloodbank.EventType `json:"x-event-type"`
		Examples  []json.RawMessage   `json:"examples"`
	}
	if err := json.Unmarshal(doc, &head); err != nil {
		t.Fatal(err)
	}
	if head.Schema != "http://json-schema.org/draft-07/schema#" || head.EventType != info.Type {
		t.Errorf("%s: $schema %q, x-event-type %q", info.Type, head.Schema, head.EventType)
	}
	for i, example := range head.Examples {
		if err := r.Validate(info.Type, example); err != nil {
			t.Errorf("%s: example %d: %v", info.Type, i, err)
		}
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	r := open(t, "")
	for _, row := range []struct {
		name string
		want bloodbank.EventType
	}{
		{"llm.prompt", "llm.prompt"},
		{"LLMPrompt", "llm.prompt"},
		{"AgentThreadPrompt", "agent.thread.prompt"},
		{"RoundCompletedPayload", "theboard.meeting.round_completed"},
		{"artifact.updated", "artifact.updated"},
		{"artifact.{action}", "artifact.created"},
		{"Artifact", "artifact.created"},
		{"", ""}, {"nope", ""}, {"agent.thread", ""}, {"llmprompt", ""},
	} {
		info, ok := r.Lookup(row.name)
		if ok != (row.want != "") || info.Type != row.want {
			t.Errorf("Lookup(%q) = %q, %v; want %q", row.name, info.Type, ok, row.want)
		}
	}
	prompt, _ := r.Lookup("agent.thread.prompt")
	feedback, _ := r.Lookup("agent.feedback.requested")
	if !prompt.Command || feedback.Command {
		t.Errorf("commands: prompt %v, feedback %v; want true, false", prompt.Command, feedback.Command)
	}
	if prompt.Domain != "agent/thread" {
		t.Errorf("domain %q", prompt.Domain)
	}
}

func TestResolvePicksFromTheFamily(t *testing.T) {
	t.Parallel()
	r := open(t, "")
	for _, row := range []struct {
		name, payload string
		want          bloodbank.EventType
	}{
		{"artifact.{action}", `{"action":"deleted"}`, "artifact.deleted"},
		{"Artifact", `{"action":"updated"}`, "artifact.updated"},
		{"artifact.created", `{"action":"deleted"}`, "artifact.created"},
		{"LLMPrompt", `not even JSON`, "llm.prompt"},
		{"Artifact", `{"action":"eaten"}`, ""},
		{"Artifact", `{"action":7}`, ""},
		{"Artifact", `{}`, ""},
		{"Artifact", `[]`, ""},
		{"nope", `{}`, ""},
	} {
		info, ok := r.Resolve(row.name, []byte(row.payload))
		if ok != (row.want != "") || info.Type != row.want {
			t.Errorf("Resolve(%q, %s) = %q, %v; want %q", row.name, row.payload, info.Type, ok, row.want)
		}
	}
}

func TestUnknownType(t *testing.T) {
	t.Parallel()
	r := open(t, "")
	err := r.Validate("my.own.event", []byte(`{}`))
	if bloodbank.CodeOf(err) != bloodbank.CodeUnknownType {
		t.Fatalf("got %v", err)
	}
	for _, words := range []string{`"my.own.event"`, "--schema-dir", "my.own.event.json", "--permissive"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("%q does not say %q", err, words)
		}
	}
	if strings.Contains(err.Error(), "did you mean") {
		t.Errorf("%q guesses wildly", err)
	}
	if err := r.Validate("transcription.voice.complete", nil); !strings.Contains(err.Error(), "did you mean transcription.voice.completed?") {
		t.Errorf("%q does not guess", err)
	}
	if err := r.ValidatePermissive("my.own.event", []byte(`{}`)); err != nil {
		t.Errorf("permissive: %v", err)
	}
	for name := range map[string]bool{"": true, "x": true, "..": true} {
		if bloodbank.CodeOf(r.Validate(bloodbank.EventType(name), nil)) != bloodbank.CodeUnknownType {
			t.Errorf("%q is known", name)
		}
	}
}

func TestPermissiveRegistryStillChecksKnownTypes(t *testing.T) {
	t.Parallel()
	r, err := schema.Open(t.Context(), schema.Options{Permissive: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Validate("my.own.event", []byte(`{}`)); err != nil {
		t.Error(err)
	}
	details(t, r.Validate("artifact.created", []byte(`{}`)))
	details(t, open(t, "").ValidatePermissive("artifact.created", []byte(`{}`)))
}

func TestPayloadThatIsNotJSON(t *testing.T) {
	t.Parallel()
	r := open(t, "")
	for _, payload := range []string{"", " ", "{", `{"provider":`, "nul", "\xff\xfe", `{"provider":"p","prompt":"q"} x`, `{} {}`, "\x00"} {
		err := r.Validate("llm.prompt", []byte(payload))
		if bloodbank.CodeOf(err) != bloodbank.CodeInvalid || !strings.Contains(err.Error(), "not valid JSON") {
			t.Errorf("%q: %v", payload, err)
		}
	}
}

func TestFaultsAreCompleteSortedAndShort(t *testing.T) {
	t.Parallel()
	r := open(t, "")
	payload := `{"text":"","source":"` + strings.Repeat("x", 5000) + `","session_id":7,"audio_metadata":{"confidence":95,"language":"EN","sample_rate":1},"context":{"tags":["a",1,"b",2]},"a/b~c":1}`
	got := details(t, r.Validate(bloodbank.TypeVoiceCompleted, []byte(payload)))
	want := []string{"", "/audio_metadata/confidence", "/audio_metadata/language", "/audio_metadata/sample_rate", "/context/tags/1", "/context/tags/3", "/session_id", "/source", "/text"}
	var pointers []string
	for _, d := range got {
		pointers = append(pointers, d.Pointer)
		if len(d.Message) > 300 {
			t.Errorf("%s: the message has %d bytes", d.Pointer, len(d.Message))
		}
	}
	if !slices.Equal(pointers, want) {
		t.Errorf("got %q, want %q", pointers, want)
	}
	many := `{"text":"x","context":{"tags":[` + strings.Repeat("1,", 5000) + `1]}}`
	if got := details(t, r.Validate(bloodbank.TypeVoiceCompleted, []byte(many))); len(got) != 101 || got[100].Message != "and 4904 more faults" {
		t.Errorf("%d details, last %v", len(got), got[len(got)-1])
	}
}

func TestMessagesInPlainWords(t *testing.T) {
	t.Parallel()
	r := open(t, "")
	for _, row := range []struct {
		name    bloodbank.EventType
		payload string
		want    bloodbank.Detail
	}{
		{"github.pr.created", `{}`, bloodbank.Detail{Pointer: "", Message: `the required member "cache_key" is missing`}},
		{"github.pr.created", `{"cache_key":null}`, bloodbank.Detail{Pointer: "/cache_key", Message: "must be string, not null"}},
		{"github.pr.created", `{"cache_key":"k","cache_type":"disk"}`, bloodbank.Detail{Pointer: "/cache_type", Message: `must be one of "redis", "memory", "file", not "disk"`}},
		{"llm.response", `{"provider":"p","response":"r","tokens_used":1.5}`, bloodbank.Detail{Pointer: "/tokens_used", Message: "must be null or integer, not number"}},
		{"session.thread.start", `{"session_id":"s","working_directory":"/","model":"m","started_at":"soon"}`, bloodbank.Detail{Pointer: "/started_at", Message: `must be a date-time: use RFC 3339 with an offset, such as 2026-01-27T10:00:00Z (got "soon"); or must be a date-time-local: use RFC 3339 without an offset, such as 2026-01-27T10:00:00 (got "soon")`}},
		{"transcription.voice.completed", `{"text":"a","timestamp":"2026-01-27T10:00:00Z","source":"whisperlivekit","session_id":"550e8400-e29b-41d4-a716-446655440000","audio_metadata":{"confidence":95}}`, bloodbank.Detail{Pointer: "/audio_metadata/confidence", Message: "must be 1 or less, not 95"}},
	} {
		if got := details(t, r.Validate(row.name, []byte(row.payload))); len(got) != 1 || got[0] != row.want {
			t.Errorf("%s: got %q, want %q", row.payload, got, row.want)
		}
	}
}

func TestNaiveTimesWhereTheOriginalReadsThem(t *testing.T) {
	t.Parallel()
	r := open(t, "")
	for started, ok := range map[string]bool{
		"2026-01-27T10:00:00": true, "2026-01-27T10:00:00.123456": true, "2026-01-27T10:00:00Z": true, "2026-01-27T10:00:00+02:00": true,
		"2026-01-27": false, "2026-13-27T10:00:00": false, "2026-01-27T10:00:60": false, "": false,
	} {
		payload := `{"session_id":"s","working_directory":"/","model":"m","started_at":"` + started + `"}`
		if err := r.Validate("session.thread.start", []byte(payload)); (err == nil) != ok {
			t.Errorf("%q: %v", started, err)
		}
	}
}

// The payloads as the voice package writes them.
func TestPayloadsOfVoiceSessions(t *testing.T) {
	t.Parallel()
	r := open(t, "")
	const head = `{"timestamp":"2026-01-27T10:00:00.123456Z","source":"whisperlivekit","session_id":"550e8400-e29b-41d4-a716-446655440000"`
	for _, row := range []struct {
		name    bloodbank.EventType
		rest    string
		pointer string // of the fault; "ok" for none
	}{
		{bloodbank.TypeSessionOpened, `,"recogniser":"pocketsphinx","audio":{"sample_rate":16000,"channels":1}}`, "ok"},
		{bloodbank.TypeSessionOpened, `}`, "ok"},
		{bloodbank.TypeSessionOpened, `,"recogniser":null}`, "/recogniser"},
		{bloodbank.TypeSessionClosed, `,"reason":"end","utterances":2,"failed":0,"audio_seconds":7.25}`, "ok"},
		{bloodbank.TypeSessionClosed, `,"utterances":-1}`, "/utterances"},
	} {
		err := r.Validate(row.name, []byte(head+row.rest))
		if row.pointer == "ok" && err != nil || row.pointer != "ok" && !has(details(t, err), row.pointer, "") {
			t.Errorf("%s %s: got %v, want %q", row.name, row.rest, err, row.pointer)
		}
	}
}

func TestSchemaAndExampleAreTheCallersOwn(t *testing.T) {
	t.Parallel()
	r := open(t, "")
	doc, _ := r.Schema("llm.prompt")
	keep := bytes.Clone(doc)
	clear(doc)
	if again, _ := r.Schema("llm.prompt"); !bytes.Equal(again, keep) {
		t.Error("changing a schema's bytes changes the registry")
	}
	example, _ := r.Example("llm.prompt")
	clear(example)
	if again, ok := r.Example("llm.prompt"); !ok || !json.Valid(again) {
		t.Error("changing an example's bytes changes the registry")
	}
	if _, ok := r.Schema("nope"); ok {
		t.Error("a schema of nothing")
	}
	if _, ok := r.Example("nope"); ok {
		t.Error("an example of nothing")
	}
}

func TestConcurrentFirstUse(t *testing.T) {
	t.Parallel()
	r := open(t, "")
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for _, name := range []bloodbank.EventType{"llm.prompt", "artifact.created", "fireflies.transcript.ready"} {
				if err := r.Validate(name, []byte(`{}`)); bloodbank.CodeOf(err) != bloodbank.CodeSchema {
					t.Errorf("%d: %v", i, err)
				}
			}
			if len(r.Types()) != 37 {
				t.Error("types are missing")
			}
		})
	}
	wg.Wait()
}

func ExampleRegistry_Validate() {
	r, err := schema.Open(exampleContext(), schema.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = r.Validate("artifact.created", []byte(`{"action":"created","kind":7}`))
	fmt.Println(err)
	var refused *bloodbank.Error
	fmt.Println(errors.As(err, &refused), refused.Code, len(refused.Details))
	// Output:
	// the payload does not match the schema of artifact.created
	//   at /: the required member "uri" is missing
	//   at /kind: must be string, not number
	// true schema 2
}
