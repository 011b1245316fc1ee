package cli

import (
	"fmt"

	"github.com/33god/bloodbank/app"
)

// retained is what a server says of the retention of its store.
type retained struct {
	Events   int64
	Bytes    int64
	Removed  int64  `json:"removed_events"`
	MaxAge   string `json:"max_age"`
	MaxBytes int64  `json:"max_bytes"`
	Rules    []string
	Over     int64
	Fault    string
}

func retentionFindings(r *retained) []app.Finding {
	if r == nil {
		return nil // an older server
	}
	f := app.Finding{Check: "retention", Verdict: app.Pass, Message: fmt.Sprintf("the store holds %d event(s), %d bytes; %d were removed", r.Events, r.Bytes, r.Removed)}
	switch {
	case r.Fault != "":
		f.Verdict, f.Message = app.Fail, "old events are not removed, and the store grows: "+r.Fault
	case r.Over > 0:
		f.Verdict, f.Message = app.Warn, fmt.Sprintf("the store is %d bytes above store.retention.max_bytes: what is left is younger than an hour, kept forever by a rule, or needed by a follower", r.Over)
	case r.MaxAge == "" && r.MaxBytes == 0 && len(r.Rules) == 0:
		f.Message += "; nothing limits it (store.retention.*)"
	}
	return []app.Finding{f}
}
