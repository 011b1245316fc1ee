package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/33god/bloodbank/app"
)

// TestDoctorOnVoiceLoad: who is about to refuse clients says so before.
func TestDoctorOnVoiceLoad(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status  string
		verdict app.Verdict
		words   []string
	}{
		"idle":    {`{"sessions":0,"max_sessions":8,"lag_seconds":0,"max_lag_seconds":120}`, app.Pass, []string{"0 of 8 sessions", "0.0 s of speech"}},
		"full":    {`{"sessions":8,"max_sessions":8,"lag_seconds":3.25,"max_lag_seconds":120}`, app.Warn, []string{"8 of 8", "BB_VOICE_MAX_SESSIONS"}},
		"behind":  {`{"sessions":2,"max_sessions":8,"lag_seconds":70,"max_lag_seconds":120}`, app.Warn, []string{"70.0 s", "from 120 s on"}},
		"refused": {`{"sessions":2,"max_sessions":8,"counts":{"refused":3,"failed":1}}`, app.Pass, []string{"3 client(s) were refused", "1 utterance(s) lost"}},
	} {
		var d deskStatus
		if err := json.Unmarshal([]byte(c.status), &d); err != nil {
			t.Fatal(err)
		}
		f := d.finding()
		if f.Verdict != c.verdict {
			t.Errorf("%s: %+v", name, f)
		}
		for _, w := range c.words {
			if !strings.Contains(f.Message, w) {
				t.Errorf("%s: %q does not say %q", name, f.Message, w)
			}
		}
	}
}
