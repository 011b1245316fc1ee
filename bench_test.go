package bloodbank_test

import (
	"strings"
	"testing"

	"github.com/33god/bloodbank"
)

// kilobyte is an envelope of 1 KiB as a voice session makes it.
func kilobyte() []byte {
	const frame = `{"event_id":"0198c0de-0000-7000-8000-000000000001","event_type":"transcription.voice.completed","timestamp":"2026-01-27T10:00:00.123456Z","version":"2.0.0",` +
		`"source":{"host":"workstation","type":"manual","app":"bb","meta":null},"correlation_ids":["0198c0de-0000-7000-8000-000000000000"],"agent_context":null,` +
		`"payload":{"text":"TEXT","timestamp":"2026-01-27T10:00:00.123456+00:00","source":"whisperlivekit","session_id":"550e8400-e29b-41d4-a716-446655440000","target":"tonny",` +
		`"audio_metadata":{"duration_seconds":13.52,"sample_rate":16000,"confidence":0.95,"language":"en","model":"base","speaker_id":"speaker_1"},` +
		`"context":{"device_type":"mobile","user_id":"user123","tags":["meeting","notes","hardware"]}}}`
	words := strings.Repeat("we need better cooling for the rack ", 20)
	return []byte(strings.Replace(frame, "TEXT", words[:1024-len(frame)+len("TEXT")], 1))
}

func BenchmarkDecodeEnvelope(b *testing.B) {
	data := kilobyte()
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := bloodbank.DecodeEnvelope(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	e, err := bloodbank.DecodeEnvelope(kilobyte())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	buf := make([]byte, 0, 2048)
	for b.Loop() {
		if _, err := e.AppendJSON(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkKey(b *testing.B) {
	e, err := bloodbank.DecodeEnvelope(kilobyte())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if e.Key() == "" {
			b.Fatal("no key")
		}
	}
}

func BenchmarkDeterministicID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bloodbank.DeterministicID(bloodbank.DefaultNamespace, "fireflies.transcript.upload", "meeting_id=abc123"); err != nil {
			b.Fatal(err)
		}
	}
}
