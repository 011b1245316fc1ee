package whisperlive

import (
	"encoding/binary"

	"github.com/33god/bloodbank/voice/audio"
)

// keep holds the audio that may have to be sent again: from the end of the last final on.
// Positions count samples from the start of the stream.
type keep struct {
	pieces [][]byte // of pieceSize, but for the last
	from   int64    // position of the first sample kept; a multiple of a piece behind zero
	to     int64
	gone   int64 // end of the last sound that was forgotten
}

const (
	pieceSamples = audio.SampleRate / 10
	pieceBytes   = 2 * pieceSamples
)

func (k *keep) add(pcm []int16) {
	for len(pcm) > 0 {
		n := len(k.pieces)
		if n == 0 || len(k.pieces[n-1]) == pieceBytes {
			k.pieces = append(k.pieces, make([]byte, 0, pieceBytes))
			n++
		}
		last := k.pieces[n-1]
		take := min(len(pcm), (pieceBytes-len(last))/2)
		k.pieces[n-1] = audio.Bytes(last, pcm[:take])
		k.to += int64(take)
		pcm = pcm[take:]
	}
}

// drop forgets whole pieces before a position, whatever is in them, and quiet ones before
// another.
func (k *keep) drop(before, quiet int64) {
	n := 0
	for n < len(k.pieces) && len(k.pieces[n]) == pieceBytes {
		end := k.from + pieceSamples
		if end > before && (end > quiet || loud(k.pieces[n])) {
			break
		}
		if loud(k.pieces[n]) {
			k.gone = end
		}
		k.pieces[n] = nil
		k.from = end
		n++
	}
	if n > 0 {
		k.pieces = append(k.pieces[:0], k.pieces[n:]...)
	}
}

// loud reports whether somebody may speak in a piece: it is above 50 dB below full scale.
func loud(piece []byte) bool {
	const quiet = 100 // root mean square
	return energy(piece) > quiet*quiet*int64(len(piece)/2)
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
		p := k.pieces[(at-k.from)/pieceSamples]
		offset := 2 * ((at - k.from) % pieceSamples)
		c := copy(dst[n:len(dst)&^1], p[offset:])
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
