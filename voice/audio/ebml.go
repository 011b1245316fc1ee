package audio

import (
	"errors"
	"math"
	"math/bits"
)

// The element ids of Matroska that are looked at. See RFC 8794 and RFC 9559.
const (
	idEBML          = 0x1A45DFA3
	idSegment       = 0x18538067
	idInfo          = 0x1549A966
	idScale         = 0x2AD7B1
	idTracks        = 0x1654AE6B
	idTrack         = 0xAE
	idTrackNumber   = 0xD7
	idTrackType     = 0x83
	idTrackCodec    = 0x86
	idTrackPrivate  = 0x63A2
	idTrackCoding   = 0x6D80
	idTrackAudio    = 0xE1
	idAudioRate     = 0xB5
	idAudioChannels = 0x9F
	idAudioBits     = 0x6264
	idCluster       = 0x1F43B675
	idTimecode      = 0xE7
	idSimpleBlock   = 0xA3
	idBlockGroup    = 0xA0
	idBlock         = 0xA1
	idDiscard       = 0x75A2
	idVoid          = 0xEC
	idSeekHead      = 0x114D9B74
	idCues          = 0x1C53BB6B
	idTags          = 0x1254C367
	idChapters      = 0x1043A770
	idAttachments   = 0x1941A469
)

// unknownSize is the size of an element that lasts until its parent or the stream ends.
const unknownSize = math.MaxInt64

var errCut = errors.New("has an element that ends in its header")
var errBroken = errors.New("has a broken element header")

// elementHead reads the id and size of the element that p starts with, and how many bytes
// they take. errCut: more bytes are needed.
func elementHead(p []byte) (id uint32, size int64, n int, err error) {
	if len(p) == 0 {
		return 0, 0, 0, errCut
	}
	n = bits.LeadingZeros8(p[0]) + 1
	if n > 4 {
		return 0, 0, 0, errBroken
	}
	if len(p) < n {
		return 0, 0, 0, errCut
	}
	for _, b := range p[:n] {
		id = id<<8 | uint32(b)
	}
	size, m, err := vint(p[n:])
	return id, size, n + m, err
}

// vint reads a number of variable length without its marker; all ones is unknownSize.
func vint(p []byte) (v int64, n int, err error) {
	if len(p) == 0 {
		return 0, 0, errCut
	}
	n = bits.LeadingZeros8(p[0]) + 1
	if n > 8 {
		return 0, 0, errBroken
	}
	if len(p) < n {
		return 0, 0, errCut
	}
	v = int64(p[0]) & (1<<(8-n) - 1)
	for _, b := range p[1:n] {
		v = v<<8 | int64(b)
	}
	if v == 1<<(7*n)-1 {
		v = unknownSize
	}
	return v, n, nil
}

// eachElement calls visit for every element in p, which holds whole ones.
func eachElement(p []byte, visit func(id uint32, body []byte) error) error {
	for len(p) > 0 {
		id, size, n, err := elementHead(p)
		if err != nil {
			return err
		}
		if size > int64(len(p)-n) {
			return errors.New("has an element that is longer than the one around it")
		}
		if err := visit(id, p[n:n+int(size)]); err != nil {
			return err
		}
		p = p[n+int(size):]
	}
	return nil
}

// unsigned reads an integer element; one of more than 8 bytes gives a value out of range.
func unsigned(p []byte) uint64 {
	if len(p) > 8 {
		return math.MaxUint64
	}
	var v uint64
	for _, b := range p {
		v = v<<8 | uint64(b)
	}
	return v
}

// decimal reads a floating point element, 0 for one of an odd size.
func decimal(p []byte) float64 {
	switch len(p) {
	case 4:
		return float64(math.Float32frombits(uint32(unsigned(p))))
	case 8:
		return math.Float64frombits(unsigned(p))
	}
	return 0
}
