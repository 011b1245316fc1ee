package app

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"testing"
)

// numbers reads the samples of ours at /metrics.
func numbers(t *testing.T, a *App) map[string]float64 {
	t.Helper()
	response, err := http.Get(a.URL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%d %s, %v", response.StatusCode, body, err)
	}
	all := map[string]float64{}
	for _, line := range regexp.MustCompile(`(?m)^bloodbank_(\S+) (\S+)$`).FindAllSubmatch(body, -1) {
		if all[string(line[1])], err = strconv.ParseFloat(string(line[2]), 64); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestMetrics: load and lag of speech and of the flow are numbers for Prometheus.
func TestMetrics(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	needRecogniser(t, a)
	recording, err := os.ReadFile("../cli/demo.wav")
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := upload(t, a, recording); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	got := numbers(t, a)
	for name, want := range map[string]float64{
		`voice_utterances_total{outcome="whole"}`: 1, `voice_utterances_total{outcome="failed"}`: 0,
		`voice_utterances_total{outcome="truncated"}`: 0, "voice_opened_total": 1, "voice_refused_total": 0,
		`voice_sessions{client="away"}`: 0, "voice_sessions_limit": 8, "voice_lag_limit_seconds": 120,
		`voice_final_delay_seconds_bucket{le="+Inf"}`: 1, "voice_final_delay_seconds_count": 1,
		"log_records_total": 3, "dispatch_dead_letters": 0, "dispatch_up": 1, "recorder_up": 1, "live_watchers": 0,
	} {
		if value, is := got[name]; !is || value != want {
			t.Errorf("%s is %v (there: %v), want %v", name, value, is, want)
		}
	}
	if s := got["voice_audio_seconds_total"]; s < 2 || s > 10 {
		t.Errorf("%v s of audio", s)
	}
	for _, name := range []string{"voice_lag_seconds", "dispatch_lag", "recorder_stored_total", "log_bytes", "log_fsync_seconds"} {
		if _, is := got[name]; !is {
			t.Errorf("%s is missing", name)
		}
	}
}
