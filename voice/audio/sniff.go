package audio

import "encoding/binary"

// Format names what the first bytes of a stream say it is.
type Format string

// The formats that are told apart. PCM, WAV, WebM and Ogg are decoded here, if what they
// hold is; the rest by a [Transcoder].
const (
	FormatUnknown  Format = ""     // too few bytes so far
	FormatPCM      Format = "pcm"  // samples without a container; also anything without a magic
	FormatWAV      Format = "wav"  // RIFF/WAVE
	FormatWebM     Format = "webm" // Matroska, as MediaRecorder sends
	FormatWebMPart Format = "webm part"
	FormatOgg      Format = "ogg"
	FormatFLAC     Format = "flac"
	FormatMP3      Format = "mp3"
	FormatMP4      Format = "mp4"
	FormatAAC      Format = "aac" // ADTS, without a container
	FormatAIFF     Format = "aiff"
	FormatAU       Format = "au"
	FormatCAF      Format = "caf"
	FormatAMR      Format = "amr"
	FormatASF      Format = "asf" // also WMA
	FormatW64      Format = "w64"
	FormatRIFF     Format = "riff" // RIFF that is not WAVE, or its 64-bit and big-endian kin
)

// sniff decides on the first bytes of a stream. It answers FormatUnknown as long as
// more bytes could still change the answer, unless last says that none will come.
func sniff(head []byte, last bool) Format {
	for _, m := range [...]struct {
		magic  string
		format Format
	}{
		{"\x1a\x45\xdf\xa3", FormatWebM},
		{"\x1f\x43\xb6\x75", FormatWebMPart},
		{"OggS", FormatOgg},
		{"fLaC", FormatFLAC},
		{".snd\x00\x00", FormatAU},
		{"caff\x00\x01", FormatCAF},
		{"#!AMR", FormatAMR},
		{"\x30\x26\xb2\x75\x8e\x66\xcf\x11", FormatASF},
		{"riff\x2e\x91\xcf\x11", FormatW64},
	} {
		switch begins(head, m.magic) {
		case yes:
			return m.format
		case maybe:
			if !last {
				return FormatUnknown
			}
		}
	}
	if f, found := sniffIFF(head, last); found {
		return f
	}
	if len(head) < 8 && !last {
		return FormatUnknown
	}
	if len(head) >= 8 && string(head[4:8]) == "ftyp" {
		return FormatMP4
	}
	if len(head) >= 4 && string(head[:3]) == "ID3" && head[3] < 0x10 {
		return FormatMP3
	}
	for _, kind := range [...]struct {
		format Format
		length func([]byte) int
		same   int // bytes that two frames of a stream have in common
	}{{FormatMP3, mp3FrameLength, 2}, {FormatAAC, aacFrameLength, 3}, {FormatWebMPart, blockLength, 1}} {
		if f := sniffFrames(head, last, kind.length, kind.same); f != FormatPCM {
			if f == FormatMP3 {
				f = kind.format
			}
			return f
		}
	}
	return FormatPCM
}

// sniffIFF looks for RIFF and its kin, which name their kind after their size.
func sniffIFF(head []byte, last bool) (Format, bool) {
	for _, magic := range []string{"RF64", "RIFX"} {
		if begins(head, magic) == yes {
			return FormatRIFF, true
		}
	}
	for _, k := range [...]struct {
		magic, kind   string
		format, other Format
	}{{"RIFF", "WAVE", FormatWAV, FormatRIFF}, {"FORM", "AIF", FormatAIFF, FormatPCM}} {
		switch {
		case begins(head, k.magic) != yes:
			continue
		case len(head) < 12 && !last:
			return FormatUnknown, true
		case len(head) >= 12 && string(head[8:8+len(k.kind)]) == k.kind:
			return k.format, true
		}
		return k.other, true
	}
	return FormatUnknown, false
}

// sniffFrames wants two frame headers in a row: quiet raw PCM often begins with bytes
// that look like one, and refusing good audio would be worse than a late refusal. It
// answers FormatPCM for no, and FormatMP3, whatever the frames are, for yes.
func sniffFrames(head []byte, last bool, length func([]byte) int, same int) Format {
	const most = 7 // bytes that a length needs
	n := length(head)
	switch {
	case n == 0:
		return FormatPCM
	case len(head) < n+most && last:
		return FormatPCM
	case len(head) < n+most:
		return FormatUnknown
	case length(head[n:]) != 0 && string(head[n+1:n+same]) == string(head[1:same]):
		return FormatMP3
	}
	return FormatPCM
}

// mp3FrameLength is the length of the layer III frame whose header starts b, 0 for none.
func mp3FrameLength(b []byte) int {
	if len(b) < 4 {
		return 0
	}
	h := binary.BigEndian.Uint32(b)
	version, layer := h>>19&3, h>>17&3
	bitrate, rate := h>>12&15, h>>10&3
	if h>>21 != 0x7ff || version == 1 || layer != 1 || bitrate == 0 || bitrate == 15 || rate == 3 {
		return 0
	}
	mpeg1 := [...]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320}
	mpeg2 := [...]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}
	hertz := [...]int{44100, 48000, 32000}[rate]
	padding := int(h >> 9 & 1)
	if version == 3 {
		return 144_000*mpeg1[bitrate]/hertz + padding
	}
	if version == 0 {
		hertz /= 2
	}
	return 72_000*mpeg2[bitrate]/(hertz/2) + padding
}

// aacFrameLength is the length of the ADTS frame whose header starts b, 0 for none.
func aacFrameLength(b []byte) int {
	if len(b) < 7 || b[0] != 0xff || b[1]&0xf6 != 0xf0 || b[2]>>2&15 > 12 {
		return 0
	}
	n := int(b[3]&3)<<11 | int(b[4])<<3 | int(b[5])>>5
	if n <= 7 {
		return 0
	}
	return n
}

// blockLength is the length of a WebM block of track 1 that starts b, 0 for none: what a
// client sends first that goes on with a recording on a new connection.
func blockLength(b []byte) int {
	if begins(b, "\x1f\x43\xb6\x75") == yes {
		return 4 // the next cluster
	}
	if len(b) < 7 || b[0] != 0xa3 {
		return 0
	}
	size, n, err := vint(b[1:6])
	if err != nil || size < 5 || size > maxPacket || b[1+n] != 0x81 {
		return 0
	}
	return 1 + n + int(size)
}

type answer int

const (
	no answer = iota
	maybe
	yes
)

func begins(head []byte, magic string) answer {
	n := min(len(head), len(magic))
	switch {
	case string(head[:n]) != magic[:n]:
		return no
	case n < len(magic):
		return maybe
	}
	return yes
}
