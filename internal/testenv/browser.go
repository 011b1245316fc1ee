//go:build unix

package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Browser is a Chromium without a screen, of one test.
type Browser struct {
	tb      testing.TB
	process *process
	log     string
}

// OpenBrowser shows url in a Chromium of its own, with an empty profile, or skips
// the test. With voice, a WAV file, pages that ask for the microphone get it and
// hear that file once. The browser talks to nobody but the pages' servers, and
// ends with the test.
func OpenBrowser(tb testing.TB, url, voice string) *Browser {
	tb.Helper()
	path := shared.installer.need(tb, program{"chromium-headless-shell", "chromium-headless-shell", []string{
		"/usr/bin/chromium-headless-shell", "/usr/bin/chromium",
	}})
	dir, err := os.MkdirTemp("", "bb-browser-")
	if err != nil {
		tb.Fatal(err)
	}
	args := []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-domain-reliability",
		"--user-data-dir=" + dir, "--remote-debugging-port=0", "--autoplay-policy=no-user-gesture-required",
	}
	if voice != "" {
		args = append(args, "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--use-file-for-fake-audio-capture="+voice+"%noloop")
	}
	b := &Browser{tb: tb, log: filepath.Join(dir, "log")}
	b.process, err = start(exec.Command(path, append(args, url)...), dir, b.log)
	if err != nil {
		_ = os.RemoveAll(dir)
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		b.process.stop(syscall.SIGTERM, true, 5*time.Second)
		if tb.Failed() {
			tb.Logf("the browser said: %s", b.Said())
		}
		_ = os.RemoveAll(dir) // a temporary folder: what stays costs nobody anything
	})
	return b
}

// Said is the end of what the browser has printed.
func (b *Browser) Said() string {
	text, err := os.ReadFile(b.log)
	if err != nil {
		return err.Error()
	}
	return string(tail(text, 2000))
}
