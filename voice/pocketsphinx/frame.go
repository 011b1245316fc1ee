package pocketsphinx

import (
	"encoding/binary"
	"fmt"
	"io"
)

// kind says what a frame is for.
type kind byte

const (
	// To the worker.
	kindLoad       kind = 'l' // JSON workerConfig; the first frame; answered by ready or fatal
	kindTranscribe kind = 't' // samples of a whole utterance; answered by hypothesis or failure
	kindBegin      kind = 'b' // a new utterance for interim text; no answer
	kindFeed       kind = 'f' // samples; answered by partial or failure
	kindEnd        kind = 'e' // the utterance is over; no answer

	// From the worker.
	kindReady      kind = 'r'
	kindFatal      kind = 'x' // text: the worker cannot work and ends
	kindHypothesis kind = 'h' // JSON hypothesis
	kindPartial    kind = 'p' // text
	kindFailure    kind = 'w' // text: this request failed, others may work
)

// maxFrame holds two minutes of samples; more means that the two sides lost step.
const maxFrame = 4 << 20

const frameHead = 4 + 1 + 4

type frame struct {
	kind kind
	id   uint32
	body []byte
}

func (f frame) writeTo(w io.Writer) error {
	b := make([]byte, frameHead, frameHead+len(f.body))
	binary.BigEndian.PutUint32(b, uint32(len(f.body)+frameHead-4))
	b[4] = byte(f.kind)
	binary.BigEndian.PutUint32(b[5:], f.id)
	_, err := w.Write(append(b, f.body...))
	return err
}

func readFrame(r io.Reader) (frame, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	length := binary.BigEndian.Uint32(head[:])
	if length < frameHead-4 || length > maxFrame {
		return frame{}, fmt.Errorf("a frame of %d bytes between recogniser and worker", length)
	}
	f := frame{kind: kind(head[4]), id: binary.BigEndian.Uint32(head[5:])}
	f.body = make([]byte, length-(frameHead-4))
	_, err := io.ReadFull(r, f.body)
	return f, err
}
