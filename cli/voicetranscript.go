package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
	"github.com/33god/bloodbank/voice/subtitles"
)

func voiceFormats() []string { return []string{"text", "json", "srt", "vtt"} }

// transcripts say where the words of recordings go, and in what form.
type transcripts struct {
	stdout io.Writer
	format string
	path   string // a file, or a folder if folder is set; "" is stdout
	folder bool
	many   bool
}

// newTranscripts returns nil where no format is wanted. It makes the folder.
func newTranscripts(stdout io.Writer, format, path string, all []recording) (*transcripts, error) {
	if format == "" {
		return nil, nil
	}
	if !slices.Contains(voiceFormats(), format) {
		return nil, usagef("unknown --format %q: use %s", format, strings.Join(voiceFormats(), ", "))
	}
	t := &transcripts{stdout: stdout, format: format, path: path, many: len(all) > 1}
	info, err := os.Stat(path)
	t.folder = t.many || strings.HasSuffix(path, string(filepath.Separator)) || err == nil && info.IsDir()
	switch {
	case path == "" && t.many && (format == "srt" || format == "vtt"):
		return nil, usagef("subtitles of %d recordings need a folder: give --out FOLDER", len(all))
	case path == "" || !t.folder:
		return t, nil
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "cannot make the folder for transcripts: %w", err)
	}
	return t, t.distinct(all)
}

// distinct refuses two recordings that would have one transcript.
func (t *transcripts) distinct(all []recording) error {
	taken := map[string]recording{}
	for _, r := range all {
		path := t.pathOf(r)
		if other, ok := taken[path]; ok {
			return usagef("%s and %s would both be written to %s; transcribe them in two calls", other, r, path)
		}
		taken[path] = r
	}
	return nil
}

func (t *transcripts) pathOf(r recording) string {
	if !t.folder {
		return t.path
	}
	extension := t.format
	if extension == "text" {
		extension = "txt"
	}
	return filepath.Join(t.path, r.stem()+"."+extension)
}

// transcript is what one recording becomes.
type transcript struct {
	*transcripts
	recording recording
	path      string // "" is stdout
	cues      []subtitles.Cue
	text      bytes.Buffer // of what goes into a file
}

func (t *transcripts) begin(r recording) *transcript {
	one := &transcript{transcripts: t, recording: r}
	if t.path != "" {
		one.path = t.pathOf(r)
	}
	return one
}

// utterance is one line of --format json. Its fields are for ever.
type utterance struct {
	File     string  `json:"file,omitempty"`
	Start    float64 `json:"start_seconds"`
	End      float64 `json:"end_seconds"`
	Text     string  `json:"text"`
	Speaker  int     `json:"speaker"`
	Language string  `json:"language,omitempty"`
	EventID  string  `json:"event_id,omitempty"`
}

// add takes an utterance; to stdout text and json go at once.
func (t *transcript) add(line client.VoiceLine) error {
	text := strings.TrimSpace(line.Text)
	if text == "" {
		return nil
	}
	start, end := line.Times()
	t.cues = append(t.cues, subtitles.Cue{Start: start, End: end, Text: text})
	var w io.Writer = &t.text
	if t.path == "" {
		w = t.stdout
	}
	switch t.format {
	case "text":
		_, err := fmt.Fprintln(w, visible(text))
		return err
	case "json":
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		return e.Encode(utterance{
			File: t.recording.path, Start: start.Seconds(), End: end.Seconds(), Text: text,
			Speaker: line.Speaker, Language: line.Language, EventID: line.EventID,
		})
	}
	return nil
}

// finish writes what is to be written at the end: subtitles, and a file only where
// nothing failed.
func (t *transcript) finish(failed error) error {
	if t.path != "" && failed != nil {
		return nil
	}
	var w io.Writer = &t.text
	if t.path == "" {
		w = t.stdout
	}
	var err error
	switch t.format {
	case "srt":
		err = subtitles.WriteSRT(w, t.cues)
	case "vtt":
		err = subtitles.WriteVTT(w, t.cues)
	}
	if err != nil || t.path == "" {
		return err
	}
	if err := replaceFile(t.path, t.text.Bytes()); err != nil {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "cannot write the transcript: %w", err)
	}
	return nil
}

// replaceFile writes a file as a whole or leaves the one that is there.
func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}
