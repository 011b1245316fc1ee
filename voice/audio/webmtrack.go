package audio

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// trackEntry is what a stream says of one of its tracks.
type trackEntry struct {
	number  uint64
	kind    uint64
	codec   string
	private []byte
	coded   bool // compressed or encrypted once more
	rate    float64
	channel uint64
	bits    uint64
}

const trackOfSound = 2

// chooseTrack takes the first sound track, whose clock is to begin at the given time.
// A codec that is not decoded here gives an error that leads to ffmpeg.
func chooseTrack(tracks []byte, clock int64) (track, uint64, error) {
	var chosen *trackEntry
	err := eachElement(tracks, func(id uint32, body []byte) error {
		if id != idTrack {
			return nil
		}
		e := trackEntry{kind: trackOfSound, rate: 8000, channel: 1}
		err := eachElement(body, e.set)
		if err == nil && chosen == nil && e.kind == trackOfSound {
			chosen = &e
		}
		return err
	})
	switch {
	case err != nil:
		return nil, 0, err
	case chosen == nil:
		return nil, 0, formatError(FormatWebM, "has no sound track")
	case chosen.number == 0:
		return nil, 0, errors.New("has a track without a number")
	}
	t, err := chosen.open(clock)
	return t, chosen.number, err
}

func (e *trackEntry) set(id uint32, body []byte) error {
	switch id {
	case idTrackNumber:
		e.number = unsigned(body)
	case idTrackType:
		e.kind = unsigned(body)
	case idTrackCodec:
		e.codec = strings.TrimRight(string(body[:min(len(body), 64)]), "\x00")
	case idTrackPrivate:
		e.private = body
	case idTrackCoding:
		e.coded = len(body) > 0
	case idTrackAudio:
		return eachElement(body, e.set)
	case idAudioRate:
		e.rate = decimal(body)
	case idAudioChannels:
		e.channel = unsigned(body)
	case idAudioBits:
		e.bits = unsigned(body)
	}
	return nil
}

func (e *trackEntry) open(clock int64) (track, error) {
	if e.coded {
		return nil, foreign(FormatWebM, "has a track that is compressed or encrypted once more")
	}
	switch e.codec {
	case "A_OPUS":
		h := opusHead{gain: 1}
		if len(e.private) > 0 {
			var err error
			if h, err = parseOpusHead(e.private); err != nil {
				return nil, foreign(FormatWebM, err.Error())
			}
		}
		t, err := newOpusTrack(h)
		if err == nil {
			t.time = clock
		}
		return t, err
	case "A_PCM/INT/LIT", "A_PCM/FLOAT/IEEE":
		return e.openPCM(clock)
	}
	return nil, foreign(FormatWebM, fmt.Sprintf("holds %q, not Opus", e.codec))
}

// openPCM: Chromium's MediaRecorder writes webm with samples as they are on request.
func (e *trackEntry) openPCM(clock int64) (track, error) {
	f := RawFormat{Encoding: linear(e.codec == "A_PCM/FLOAT/IEEE", int(min(e.bits, 1024)))}
	f.Rate = int(max(0, min(e.rate, math.MaxInt32)))
	f.Channels = int(min(e.channel, math.MaxInt32))
	if f.Encoding == "" {
		return nil, formatError(FormatWebM, fmt.Sprintf("holds %s with %d bits", e.codec, e.bits))
	}
	if err := f.Validate(); err != nil {
		return nil, formatError(FormatWebM, "holds "+err.Error())
	}
	return &pcmTrack{samples: newSampleReader(f, 0), start: clock}, nil
}

// linear is the encoding of samples with so many bits, "" for none.
func linear(float bool, bits int) Encoding {
	switch {
	case float && bits == 32:
		return Float32
	case float && bits == 64:
		return Float64
	case float:
		return ""
	case bits == 8:
		return Linear8
	case bits == 16:
		return Linear16
	case bits == 24:
		return Linear24
	case bits == 32:
		return Linear32
	}
	return ""
}

// pcmTrack plays samples without a codec.
type pcmTrack struct {
	samples *sampleReader
	start   int64
	heard   int64 // bytes of packets
	silent  int64 // see gap
}

func (t *pcmTrack) clock() int64 {
	frames := t.heard / int64(t.samples.frame)
	rate := int64(t.samples.format.Rate)
	return t.start + t.silent + frames/rate*opusRate + frames%rate*opusRate/rate
}

func (t *pcmTrack) frame(dst []int16, packet []byte, _ int64) ([]int16, error) {
	t.heard += int64(len(packet))
	return t.samples.read(dst, packet), nil
}

func (t *pcmTrack) gap(dst []int16, length int64) []int16 {
	t.silent += length
	return append(dst, make([]int16, length/opusThird)...)
}

func (t *pcmTrack) flush(dst []int16) []int16 { return t.samples.flush(dst) }

// lacing appends the frames of a block's body to dst. kind is the block's lacing.
func lacing(dst [][]byte, p []byte, kind byte) ([][]byte, error) {
	if kind == 0 {
		return append(dst, p), nil
	}
	if len(p) == 0 {
		return dst, errLacing
	}
	n := int(p[0]) + 1
	p = p[1:]
	if kind == 2 {
		if len(p)%n != 0 {
			return dst, errLacing
		}
		size := len(p) / n
		for i := range n {
			dst = append(dst, p[i*size:(i+1)*size])
		}
		return dst, nil
	}
	var sizes [256]int64
	total := int64(0)
	for i := range n - 1 {
		size, used, err := lacedSize(p, kind, i, sizes[max(0, i-1)])
		if total += size; err != nil || size < 0 || total > int64(len(p)-used) {
			return dst, errLacing
		}
		sizes[i], p = size, p[used:]
	}
	sizes[n-1] = int64(len(p)) - total
	for _, size := range sizes[:n] {
		if size < 0 {
			return dst, errLacing
		}
		dst = append(dst, p[:size])
		p = p[size:]
	}
	return dst, nil
}

var errLacing = errors.New("has a block with broken lacing")

// lacedSize reads the size of one frame: Xiph adds bytes up, EBML says the first and then
// the difference to the one before.
func lacedSize(p []byte, kind byte, i int, before int64) (size int64, used int, err error) {
	if kind == 1 {
		for used < len(p) {
			size += int64(p[used])
			used++
			if p[used-1] != 255 {
				return size, used, nil
			}
		}
		return 0, 0, errLacing
	}
	v, used, err := vint(p)
	if err != nil || v == unknownSize {
		return 0, 0, errLacing
	}
	if i == 0 {
		return v, used, nil
	}
	return before + v - (1<<(7*used-1) - 1), used, nil
}
