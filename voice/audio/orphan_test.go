package audio_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/33god/bloodbank/voice/audio"
)

// orphan is the server in a process of its own: it starts the ffmpeg at path and waits to
// be killed.
func orphan(path string) {
	d, err := audio.NewDecoder(context.Background(), audio.Options{Transcoder: audio.NewTranscoder(audio.TranscoderOptions{Path: path})})
	if err == nil {
		_, err = d.Decode(nil, []byte("fLaC\x00\x00\x00\x22"))
	}
	if err != nil {
		os.Exit(1)
	}
	select {}
}

// A server that is killed has no time to clean up, so the system must do it.
func TestTranscodeDiesWithParent(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a process with its parent")
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if out, err := exec.Command("mkfifo", pipe).CombinedOutput(); err != nil {
		t.Skipf("no named pipe: %v %s", err, out)
	}
	// It says that it lives by writing, and that it died by the end of the pipe.
	server := exec.Command(os.Args[0])
	server.Env = append(os.Environ(), "AUDIO_TEST_ORPHAN="+script(t, "exec 9>'"+pipe+"'; echo I live >&9; exec sleep 1000"))
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(pipe)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	said := make([]byte, 7)
	if _, err := io.ReadFull(f, said); err != nil || string(said) != "I live\n" {
		t.Fatalf("ffmpeg said %q, error %v", said, err)
	}
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = server.Wait()
	if rest, err := io.ReadAll(f); err != nil || len(rest) != 0 {
		t.Errorf("%q, error %v; want the end", rest, err)
	}
}
