package asrws

import "encoding/json"

// command is what a client wants besides being heard.
type command int

const (
	commandNone     command = iota
	commandFinalize         // the open utterance ends, the session goes on
	commandEnd              // no more audio comes
)

// maxControl is the longest text frame that is looked at.
const maxControl = 4 << 10

// parseControl reads a text frame. Upstream's server dies of any; ours passes over what
// it does not know. KeepAlive needs no answer: it was heard.
func parseControl(b []byte) command {
	var m struct {
		Type string `json:"type"`
	}
	if len(b) > maxControl || json.Unmarshal(b, &m) != nil {
		return commandNone
	}
	switch m.Type {
	case "Finalize":
		return commandFinalize
	case "CloseStream":
		return commandEnd
	}
	return commandNone
}
