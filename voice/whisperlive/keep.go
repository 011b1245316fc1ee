package whisperlive

import (
	"encoding/binary"
	"slices"

	"github.com/33god/bloodbank/voice/audio"
)

// keep holds the audio that may have to be sent again: from the end of the last final on.
// Positions count samples from the start of the stream. What was sent once is kept in
// half the space: it is needed again only when upstream is lost.
type keep struct {
	pieces []chunk
	from   int64 // position of the first sample kept; a multiple of a piece behind zero
	to     int64
	gone   int64 // end of the last sound that was forgotten
	packed int   // how many pieces, from the first, are compressed
}

// chunk has pieceSamples samples, but for the last one.
type chunk struct {
	data   []byte // s16le, or µ-law
	packed bool
	loud   bool // known only of what is packed
}

func (p *chunk) full() bool { return p.packed || len(p.data) == pieceBytes }

// isLoud reports whether somebody may speak in a piece.
func (p *chunk) isLoud() bool {
	if p.packed {
		return p.loud
	}
	return loud(p.data)
}

const (
	pieceSamples = audio.SampleRate / 10
	pieceBytes   = 2 * pieceSamples
)

func (k *keep) add(pcm []int16) {
	for len(pcm) > 0 {
		n := len(k.pieces)
		if n == 0 || k.pieces[n-1].full() {
			k.pieces = append(k.pieces, chunk{data: make([]byte, 0, pieceBytes)})
			n++
		}
		last := &k.pieces[n-1]
		take := min(len(pcm), (pieceBytes-len(last.data))/2)
		last.data = audio.Bytes(last.data, pcm[:take])
		k.to += int64(take)
		pcm = pcm[take:]
	}
}

// drop forgets whole pieces before a position, whatever is in them, and quiet ones before
// another.
func (k *keep) drop(before, quiet int64) {
	n := 0
	for n < len(k.pieces) && k.pieces[n].full() {
		end, sound := k.from+pieceSamples, k.pieces[n].isLoud()
		if end > before && (end > quiet || sound) {
			break
		}
		if sound {
			k.gone = end
		}
		k.from = end
		n++
	}
	if n > 0 {
		k.pieces = slices.Delete(k.pieces, 0, n)
		k.packed = max(0, k.packed-n)
	}
}

// pack compresses the pieces before a position.
func (k *keep) pack(before int64) {
	for k.packed < len(k.pieces) && k.from+int64(k.packed+1)*pieceSamples <= before {
		p := &k.pieces[k.packed]
		*p = chunk{data: audio.CompressMulaw(make([]byte, 0, pieceSamples), p.data), packed: true, loud: loud(p.data)}
		k.packed++
	}
}

// loud reports whether somebody may speak in s16le: it is above 50 dB below full scale.
func loud(pcm []byte) bool {
	const quiet = 100 // root mean square
	return energy(pcm) > quiet*quiet*int64(len(pcm)/2)
}

// energy is the sum of the squares of the samples.
func energy(pcm []byte) int64 {
	var sum int64
	for i := 0; i+1 < len(pcm); i += 2 {
		s := int64(int16(binary.LittleEndian.Uint16(pcm[i:])))
		sum += s * s
	}
	return sum
}

// read copies what is kept from a position on, at most len(dst) bytes.
func (k *keep) read(dst []byte, at int64) int {
	n := 0
	for at < k.to && n+1 < len(dst) {
		p := &k.pieces[(at-k.from)/pieceSamples]
		offset, room := (at-k.from)%pieceSamples, dst[n:len(dst)&^1]
		c := 0
		if p.packed {
			c = len(audio.ExpandMulaw(room[:0], p.data[offset:min(int(offset)+len(room)/2, len(p.data))]))
		} else {
			c = copy(room, p.data[2*offset:])
		}
		n += c
		at += int64(c / 2)
	}
	return n
}

// quietest is the start of the quietest 40 ms between two positions, where a cut hurts no
// word; of equals the first, or the last.
func (k *keep) quietest(from, to int64, latest bool) int64 {
	const window = audio.SampleRate / 25
	from, to = max(from, k.from), min(to, k.to)
	best, at := int64(-1), from
	buffer := make([]byte, 2*window)
	for p := from; p+window <= to; p += window / 2 {
		k.read(buffer, p)
		sum := energy(buffer)
		if best < 0 || sum < best || latest && sum == best {
			best, at = sum, p
		}
	}
	return at
}
