package audio

import (
	"errors"
	"fmt"
	"math"
)

const (
	// The longest element that is read or, for one without use or meaning here, passed over.
	maxElement = 1 << 20
	// The longest element of a kind known to be long, such as cues, tags and pictures.
	maxPassed = 16 << 20
	// Header bytes before the first cluster.
	maxWebMHeader = 4 << 20

	nanosecond = 1_000_000_000
)

// webmReader takes a WebM or Matroska stream apart as it comes: clusters of known and
// unknown size, blocks with and without lacing. It plays the first sound track.
//
// Nesting is followed only as far as needed: a cluster of unknown size ends where an
// element begins that cannot be in a cluster, so levels need no stack.
type webmReader struct {
	in         pending
	pass       int64 // bytes of an element still to pass over
	begun      bool  // inside of the segment
	clusterEnd int64 // byte position; unknownSize, or 0 outside of a cluster
	scale      int64 // nanoseconds in a tick
	number     uint64
	track      track
	gaps       gapFiller
	timecode   int64 // of the cluster, in ticks
	laced      [][]byte
}

func (w *webmReader) settled() bool { return w.track != nil }

func (w *webmReader) decode(dst []int16, p []byte) ([]int16, error) {
	w.in.add(p)
	for {
		if w.pass > 0 {
			if w.pass -= w.in.drop(w.pass); w.pass > 0 {
				return dst, nil
			}
		}
		if w.track == nil && w.in.gone > maxWebMHeader {
			return dst, formatError(FormatWebM, "has no sound within its first 4 MiB")
		}
		id, size, n, err := elementHead(w.in.rest())
		if errors.Is(err, errCut) {
			return dst, nil
		}
		if err == nil {
			err = w.bound(id, size, n)
		}
		var more bool
		if err == nil {
			dst, more, err = w.element(dst, id, size, n)
		}
		if err != nil {
			return dst, w.complaint(err)
		}
		if !more {
			return dst, nil
		}
	}
}

// complaint says what is wrong and where.
func (w *webmReader) complaint(err error) error {
	var f *FormatError
	if errors.As(err, &f) {
		return err
	}
	return formatError(FormatWebM, fmt.Sprintf("%v (at byte %d)", err, w.in.gone))
}

// bound refuses sizes that only damage or an attack makes, and ends the cluster.
func (w *webmReader) bound(id uint32, size int64, n int) error {
	if w.clusterEnd != 0 && (w.in.gone >= w.clusterEnd || id >= 1<<24) {
		w.clusterEnd = 0
	}
	if !w.begun && id != idEBML && id != idSegment && id != idVoid {
		return fmt.Errorf("has element %X before its segment", id)
	}
	limit := int64(maxElement)
	switch id {
	case idSegment, idCluster:
		return nil
	case idEBML:
		limit = 4096
	case idCues, idTags, idChapters, idAttachments, idSeekHead, idVoid:
		limit = maxPassed
	}
	switch {
	case size == unknownSize:
		return fmt.Errorf("has element %X without a size", id)
	case size > limit:
		return fmt.Errorf("has element %X of %d bytes; at most %d are taken", id, size, limit)
	case w.clusterEnd != 0 && w.in.gone+int64(n)+size > w.clusterEnd:
		return fmt.Errorf("has element %X of %d bytes that is longer than its cluster", id, size)
	}
	return nil
}

// element takes one element, whose header has n bytes, or says that it needs more bytes.
func (w *webmReader) element(dst []int16, id uint32, size int64, n int) ([]int16, bool, error) {
	switch id {
	case idSegment:
		w.in.drop(int64(n))
		w.begun, w.clusterEnd, w.scale = true, 0, nanosecond/1000
		return dst, true, nil
	case idCluster:
		if w.track == nil {
			return dst, false, errors.New("has a cluster before its tracks")
		}
		w.in.drop(int64(n))
		w.clusterEnd = unknownSize
		if size != unknownSize {
			w.clusterEnd = w.in.gone + size
		}
		return dst, true, nil
	case idEBML, idInfo, idTracks, idTimecode, idSimpleBlock, idBlockGroup:
	default:
		w.in.drop(int64(n))
		w.pass = size
		return dst, true, nil
	}
	whole := w.in.rest()
	if int64(len(whole)) < int64(n)+size {
		return dst, false, nil
	}
	dst, err := w.body(dst, id, whole[n:int64(n)+size])
	if err == nil {
		w.in.drop(int64(n) + size)
	}
	return dst, err == nil, err
}

func (w *webmReader) body(dst []int16, id uint32, body []byte) ([]int16, error) {
	if (id == idTimecode || id == idSimpleBlock || id == idBlockGroup) && w.clusterEnd == 0 {
		return dst, fmt.Errorf("has element %X outside of a cluster", id)
	}
	switch id {
	case idEBML:
		// A second header: the recorder was started again on the same connection.
		w.begun, w.gaps.known = false, false
		return dst, nil
	case idInfo:
		return dst, eachElement(body, w.info)
	case idTracks:
		return w.tracks(dst, body)
	case idTimecode:
		w.timecode = int64(min(unsigned(body), math.MaxInt64))
		if w.timecode > math.MaxInt64/4/w.scale {
			return dst, errors.New("has a timecode out of range")
		}
		return dst, nil
	case idSimpleBlock:
		return w.block(dst, body, 0)
	}
	var block []byte
	var discard int64
	err := eachElement(body, func(id uint32, body []byte) error {
		switch id {
		case idBlock:
			block = body
		case idDiscard:
			// Negative padding, at the front, has the top bit set: it is not used for Opus.
			if v := unsigned(body); v < nanosecond && (len(body) == 0 || body[0] < 128) {
				discard = int64(v) * opusRate / nanosecond
			}
		}
		return nil
	})
	if err != nil || block == nil {
		return dst, err
	}
	return w.block(dst, block, discard)
}

func (w *webmReader) info(id uint32, body []byte) error {
	if id != idScale {
		return nil
	}
	v := unsigned(body)
	if v == 0 || v > nanosecond {
		return fmt.Errorf("has a timecode scale of %d ns", v)
	}
	w.scale = int64(v)
	return nil
}

// tracks chooses the track. A second list of them, after a new start, goes on with the
// clock of the first.
func (w *webmReader) tracks(dst []int16, body []byte) ([]int16, error) {
	var at int64
	if w.track != nil {
		at = w.track.clock()
		dst = w.track.flush(dst)
	}
	t, number, err := chooseTrack(body, at)
	if err == nil {
		w.track, w.number = t, number
	}
	return dst, err
}

// block plays the frames of a block that belongs to the track. The last frame is played
// without its last discard units of 1/48000 s.
func (w *webmReader) block(dst []int16, p []byte, discard int64) ([]int16, error) {
	number, n, err := vint(p)
	if err != nil || len(p) < n+3 {
		return dst, errors.New("has a block that ends in its header")
	}
	if uint64(number) != w.number {
		return dst, nil
	}
	ticks := w.timecode + int64(int16(uint16(p[n])<<8|uint16(p[n+1])))
	w.laced, err = lacing(w.laced[:0], p[n+3:], p[n+2]>>1&3)
	if err != nil {
		return dst, err
	}
	at := ticks * w.scale / 1000 * (opusRate / 1000) / 1000
	for i, f := range w.laced {
		if i == 0 {
			length, err := w.length(f)
			if err != nil {
				return dst, err
			}
			dst = w.gaps.fill(dst, w.track, at, length)
		}
		trim := int64(0)
		if i == len(w.laced)-1 {
			trim = discard
		}
		if dst, err = w.track.frame(dst, f, trim); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// length is how long a packet sounds; 0 when that cannot matter, since any gap counts.
func (w *webmReader) length(packet []byte) (int64, error) {
	if _, ok := w.track.(*opusTrack); ok {
		return packetTime(packet)
	}
	return 0, nil
}

// flush gives what is left. A stream may end anywhere: clients vanish, and the last
// element is then of no use.
func (w *webmReader) flush(dst []int16) ([]int16, error) {
	if w.track == nil {
		return dst, formatError(FormatWebM, "ends before its tracks are described")
	}
	return w.track.flush(dst), nil
}
