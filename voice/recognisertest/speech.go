package recognisertest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/33god/bloodbank/voice/audio"
)

// Say has flite speak text with one of its voices (kal16, rms, awb, slt) and returns
// 16 kHz samples. The test is skipped where flite is missing.
func Say(t testing.TB, voiceName, text string) []int16 {
	t.Helper()
	flite, err := exec.LookPath("flite")
	if err != nil {
		t.Skip("flite is missing, so nothing can be said to the recogniser; run: apt-get install flite")
	}
	file := filepath.Join(t.TempDir(), "said.wav")
	cmd := exec.CommandContext(t.Context(), flite, "-voice", voiceName, "-o", file)
	cmd.Stdin = strings.NewReader(text + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("flite: %v\n%s", err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return Decode(t, b)
}

// Decode turns a WAV file into samples.
func Decode(t testing.TB, wav []byte) []int16 {
	t.Helper()
	var d audio.Decoder
	pcm, err := d.Decode(nil, bytes.Clone(wav))
	if err == nil {
		pcm, err = d.Flush(pcm)
	}
	if err != nil {
		t.Fatal(err)
	}
	return pcm
}

// Clip is a recording with the words that are spoken in it.
type Clip struct{ Name, Words string }

// RealClips are the recordings that the project uses where they are at hand. They are no
// part of the repository: BB_TEST_AUDIO names their folder.
func RealClips() []Clip {
	return []Clip{
		{"librispeech-6930-75918-0000.wav", "concord returned to its place amidst the tents"},
		{"librispeech-7902-96591-0000.wav", "i am from the cutter lying off the coast"},
		{"goforward.wav", "go forward ten meters"},
		{"cards-001.wav", "ten of clubs"},
		{"cards-002.wav", "four queen of clubs"},
	}
}

// ReadClip reads one of [RealClips], or skips the test. root is the way to the
// repository's root, such as "../..".
func ReadClip(t testing.TB, root string, c Clip) []int16 {
	t.Helper()
	dir := os.Getenv("BB_TEST_AUDIO")
	if dir == "" {
		dir = filepath.Join(root, "..", "shared", "audio")
	}
	b, err := os.ReadFile(filepath.Join(dir, c.Name))
	if err != nil {
		t.Skipf("no real clips here (set BB_TEST_AUDIO to their folder): %v", err)
	}
	return Decode(t, b)
}

// Silence is n samples of a quiet room.
func Silence(n int) []int16 { return make([]int16, n) }

// WordErrors is the number of words to change, add and remove to get from heard to said,
// and the number of words said.
func WordErrors(said, heard string) (errors, words int) {
	a, b := strings.Fields(strings.ToLower(said)), strings.Fields(strings.ToLower(heard))
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, w := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j, v := range b {
			change := diagonal
			if w != v {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)], len(a)
}
