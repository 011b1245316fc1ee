package wsdoor

import (
	"encoding/json"

	"github.com/33god/bloodbank"
)

// Control is what a client's text frame asks for.
type Control string

// The controls that all doors know, under the names of their clients.
const (
	KeepAlive   Control = "KeepAlive"   // nothing but a sign of life
	Finalize    Control = "Finalize"    // end the utterance that is open; the session goes on
	CloseStream Control = "CloseStream" // no more audio comes
)

// MaxControl is the largest text frame in bytes.
const MaxControl = 8 << 10

// ParseControl reads a text frame: a JSON object whose type is a string. Any type is
// returned; what is no such object is CodeInvalid.
func ParseControl(frame []byte) (Control, error) {
	var m struct {
		Type *Control `json:"type"`
	}
	if len(frame) > MaxControl {
		return "", bloodbank.Errorf(bloodbank.CodeInvalid, "the text frame is larger than %d bytes; audio belongs in binary frames", MaxControl)
	}
	if err := json.Unmarshal(frame, &m); err != nil || m.Type == nil {
		return "", bloodbank.Errorf(bloodbank.CodeInvalid, `a text frame must be JSON with a type, such as {"type":"KeepAlive"}`)
	}
	return *m.Type, nil
}
