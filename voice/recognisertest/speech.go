package recognisertest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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
// and the number of words said. As in NIST's scoring, a contraction that was heard may
// stand for the words it is made of: "i'm" for "i am".
func WordErrors(said, heard string) (errors, words int) {
	return wordErrors(said, heard, long)
}

// StrictWordErrors is WordErrors where "i'm" for "i am" counts as two.
func StrictWordErrors(said, heard string) (errors, words int) {
	return wordErrors(said, heard, func(string) string { return "" })
}

func wordErrors(said, heard string, long func(string) string) (errors, words int) {
	a, b := strings.Fields(strings.ToLower(said)), strings.Fields(strings.ToLower(heard))
	cost := make([][]int, len(a)+1)
	for i := range cost {
		cost[i] = make([]int, len(b)+1)
		for j := range cost[i] {
			switch {
			case i == 0 || j == 0:
				cost[i][j] = i + j
				continue
			case a[i-1] == b[j-1]:
				cost[i][j] = cost[i-1][j-1]
			default:
				cost[i][j] = 1 + min(cost[i-1][j-1], cost[i-1][j], cost[i][j-1])
			}
			if i > 1 && long(b[j-1]) == a[i-2]+" "+a[i-1] {
				cost[i][j] = min(cost[i][j], cost[i-2][j-1])
			}
		}
	}
	return cost[len(a)][len(b)], len(a)
}

// long is what a contraction stands for, or "".
func long(word string) string {
	stem, end, found := strings.Cut(word, "'")
	if !found {
		return ""
	}
	rest := map[string]string{"m": "am", "re": "are", "ll": "will", "ve": "have", "s": "is", "d": "would"}[end]
	if rest == "" {
		return ""
	}
	return stem + " " + rest
}

// MP3 is 16 kHz samples (s16le) as a recording that only ffmpeg can decode, which makes
// it here too. The test is skipped where ffmpeg is missing.
func MP3(t testing.TB, pcm []byte) []byte {
	t.Helper()
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is missing, so nothing can be converted; run: apt-get install ffmpeg")
	}
	cmd := exec.CommandContext(t.Context(), path, "-loglevel", "error", "-f", "s16le", "-ar", strconv.Itoa(audio.SampleRate), "-ac", "1",
		"-i", "pipe:0", "-b:a", "128k", "-f", "mp3", "pipe:1")
	cmd.Stdin = bytes.NewReader(pcm)
	cmd.Stderr = t.Output()
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v", err)
	}
	return b
}
