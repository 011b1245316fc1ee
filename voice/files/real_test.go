package files_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/pocketsphinx"
	"github.com/33god/bloodbank/voice/recognisertest"
)

// convert has ffmpeg turn raw samples into a file of the format.
func convert(t *testing.T, pcm []byte, format string) string {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is missing, so other formats cannot be made; run: apt-get install ffmpeg")
	}
	raw, out := filepath.Join(t.TempDir(), "raw"), filepath.Join(t.TempDir(), "out."+format)
	if err := os.WriteFile(raw, pcm, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), ffmpeg, "-v", "error", "-f", "s16le", "-ar", "16000", "-ac", "1", "-i", raw, out)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("this ffmpeg cannot write %s: %v\n%s", format, err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A real recording, real recogniser.
func TestRealSpeech(t *testing.T) {
	pcm := recognisertest.Say(t, "kal16", recognisertest.Sentence)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, err := pocketsphinx.New(pocketsphinx.Config{Command: []string{self}, Env: []string{"BB_TEST_ASR_WORKER=1"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Check(t.Context()); err != nil {
		r.Close()
		t.Skip(err)
	}
	s, _, l := serve(t, setup{Recogniser: r})
	quiet := recognisertest.Silence(audio.SampleRate)
	header := "RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data\xff\xff\xff\xff"
	recording := audio.Bytes(audio.Bytes(audio.Bytes([]byte(header), quiet), pcm), quiet)
	status, _, body := post(t, s, "file", string(recording), "response_format", "verbose_json", "model", "whisper-1")
	m := object(t, []byte(body))
	if status != 200 || m["text"] != recognisertest.Sentence || m["language"] != "en-US" {
		t.Fatalf("%d %s", status, body)
	}
	if words := m["words"].([]any); len(words) != 8 {
		t.Errorf("words %v", words)
	}
	if events := l.all(); len(events) != 3 {
		t.Errorf("%d events", len(events))
	}
}
