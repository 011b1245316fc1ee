package audio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/pion/opus"
)

const (
	opusRate  = 48_000 // of all clocks in Opus containers, whatever the sound's own rate
	opusThird = opusRate / SampleRate

	maxPacketTime = opusRate * 120 / 1000
	// The longest packet: 48 frames of 1275 bytes with their lengths and some padding.
	maxPacket = 1 << 16
)

// track is the sound inside a container. Its clock counts 1/48000 s.
type track interface {
	// frame appends the samples of one packet without its last trim units of time.
	frame(dst []int16, packet []byte, trim int64) ([]int16, error)
	// gap appends as much sound as was lost.
	gap(dst []int16, length int64) []int16
	// clock is the time up to the end of the last packet or gap.
	clock() int64
	flush(dst []int16) []int16
}

// opusHead is what the header of an Opus stream says of its decoding.
type opusHead struct {
	skip int     // 1/48000 s to drop from the start
	gain float64 // factor
}

// parseOpusHead reads the OpusHead packet, which Ogg and Matroska share.
func parseOpusHead(p []byte) (opusHead, error) {
	switch {
	case len(p) < 19 || string(p[:8]) != "OpusHead":
		return opusHead{}, errors.New("has a broken OpusHead")
	case p[8] > 15:
		return opusHead{}, fmt.Errorf("has an OpusHead of version %d", p[8])
	case p[18] != 0 && (len(p) < 21 || p[19] != 1):
		return opusHead{}, fmt.Errorf("holds Opus with %d channels in several streams", p[9])
	}
	decibel := float64(int16(binary.LittleEndian.Uint16(p[16:]))) / 256
	return opusHead{skip: int(binary.LittleEndian.Uint16(p[10:])), gain: math.Pow(10, decibel/20)}, nil
}

// opusTrack decodes the packets of one Opus stream to 16 kHz mono.
type opusTrack struct {
	decoder opus.Decoder
	head    opusHead
	time    int64 // see clock
	skip    int   // samples still to drop
	recent  []int16
	pcm     [maxPacketTime / opusThird]int16
}

// fadeOut is how long the sound before a gap takes to die away.
const fadeOut = SampleRate / 200

func newOpusTrack(h opusHead) (*opusTrack, error) {
	d, err := opus.NewDecoderWithOutput(SampleRate, 1)
	if err != nil {
		return nil, err
	}
	return &opusTrack{decoder: d, head: h, skip: (h.skip + 1) / opusThird, recent: make([]int16, 0, fadeOut)}, nil
}

func (t *opusTrack) clock() int64 { return t.time }

func (t *opusTrack) frame(dst []int16, packet []byte, trim int64) ([]int16, error) {
	length, err := packetTime(packet)
	if err != nil {
		return dst, err
	}
	n, err := t.decoder.DecodeToInt16(packet, t.pcm[:])
	if err != nil {
		return dst, fmt.Errorf("has a broken Opus packet: %w", err)
	}
	t.time += length
	pcm := t.pcm[:n]
	if t.head.gain != 1 {
		for i, s := range pcm {
			pcm[i] = clip(float32(float64(s) * t.head.gain))
		}
	}
	t.recent = append(t.recent[:0], pcm[max(0, n-fadeOut):]...)
	return t.give(dst, pcm[:n-min(n, int(trim/opusThird))]), nil
}

// gap lets the last sound die away in its own mirror image and is silent from there on.
func (t *opusTrack) gap(dst []int16, length int64) []int16 {
	t.time += length
	n := int(length / opusThird)
	for i := min(n, len(t.recent)); i > 0 && n > 0; i-- {
		s := int(t.recent[i-1]) * i / len(t.recent)
		dst = t.give(dst, []int16{int16(s)})
		n--
	}
	t.recent = t.recent[:0]
	drop := min(n, t.skip)
	t.skip -= drop
	return append(dst, make([]int16, n-drop)...)
}

// give appends samples, less what is to be skipped at the start.
func (t *opusTrack) give(dst, pcm []int16) []int16 {
	drop := min(t.skip, len(pcm))
	t.skip -= drop
	return append(dst, pcm[drop:]...)
}

func (t *opusTrack) flush(dst []int16) []int16 { return dst }

// packetTime is how long a packet sounds, in 1/48000 s (RFC 6716, section 3).
func packetTime(p []byte) (int64, error) {
	if len(p) == 0 {
		return 0, errors.New("has an empty Opus packet")
	}
	frames := 1
	switch p[0] & 3 {
	case 1, 2:
		frames = 2
	case 3:
		if len(p) < 2 {
			return 0, errors.New("has an Opus packet that ends in its header")
		}
		frames = int(p[1] & 63)
	}
	length := int64(frames) * frameTimeOf(p[0])
	if length == 0 || length > maxPacketTime {
		return 0, fmt.Errorf("has an Opus packet of %d frames and %s", frames, time.Duration(length)*time.Second/opusRate)
	}
	return length, nil
}

// frameTimeOf reads the length of a frame out of a packet's first byte, in 1/48000 s.
func frameTimeOf(toc byte) int64 {
	size := toc >> 3 & 3
	switch {
	case toc >= 128: // CELT: 2.5, 5, 10, 20 ms
		return 120 << size
	case toc >= 96: // hybrid: 10, 20 ms
		return 480 << (size & 1)
	case size == 3: // SILK: 10, 20, 40, 60 ms
		return 2880
	}
	return 480 << size
}

// gapFiller decides which holes in a container's times are lost sound. What it fills is
// bounded by what was heard, so that few bytes never become hours of silence.
type gapFiller struct {
	base   int64 // container time at clock 0
	known  bool  // base is set
	filled int64
}

const (
	leastGap   = opusRate * 15 / 1000 // less is rounding and jitter
	longestGap = opusRate * 30
)

// fill makes the track's clock meet the container's time at the start of a packet that
// lasts length. A jump too long to be a loss only moves the clock's base.
func (g *gapFiller) fill(dst []int16, t track, at, length int64) []int16 {
	if !g.known {
		g.base, g.known = at-t.clock(), true
	}
	hole := at - g.base - t.clock()
	if hole < max(leastGap, length*3/4) {
		return dst
	}
	n := min(hole, longestGap, longestGap+t.clock()-2*g.filled)
	n = max(0, n-n%opusThird)
	g.filled += n
	g.base += hole - n
	return t.gap(dst, n)
}
