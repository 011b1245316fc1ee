package client

import (
	"encoding/binary"
	"io"
	"time"

	"github.com/33god/bloodbank"
)

// RepeatAudio makes a recording of the given length of a WAV file or raw samples: cut
// off, or repeated from its beginning. 0 is the recording as it is, and any format
// will do then.
func RepeatAudio(recording []byte, length time.Duration) (io.Reader, error) {
	reader := &repeated{}
	f, _ := formatOf(recording, true)
	if length <= 0 {
		return &repeated{head: recording}, nil
	}
	if !f.cuts() {
		return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "only WAV files and raw samples can be cut or repeated")
	}
	reader.head = f.header
	if f.size > 0 { // a length that nobody knows
		reader.head = append([]byte(nil), f.header...)
		binary.LittleEndian.PutUint32(reader.head[f.size:], 0)
	}
	reader.body = recording[len(f.header):]
	if f.size > 0 {
		if size := int(binary.LittleEndian.Uint32(f.header[f.size:])); size > 0 && size < len(reader.body) {
			reader.body = reader.body[:size]
		}
	}
	reader.body = reader.body[:int64(len(reader.body))/f.align*f.align]
	reader.left = f.at(length) - int64(len(f.header))
	if len(reader.body) == 0 {
		return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "there is no sound in the recording")
	}
	return reader, nil
}

// repeated reads head once and then left bytes of body, again and again.
type repeated struct {
	head, body []byte
	at         int
	left       int64
}

func (r *repeated) Read(p []byte) (n int, err error) {
	if len(r.head) > 0 {
		n = copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	if r.left <= 0 {
		return 0, io.EOF
	}
	n = copy(p[:min(int64(len(p)), r.left)], r.body[r.at:])
	r.at = (r.at + n) % len(r.body)
	r.left -= int64(n)
	return n, nil
}
