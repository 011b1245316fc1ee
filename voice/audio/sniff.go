package audio

import "encoding/binary"

// Format names what the first bytes of a stream say it is.
type Format string

// The formats that are told apart. Only [FormatPCM] and [FormatWAV] are decoded;
// the rest are known by their magic so that they are refused by name.
const (
	FormatUnknown Format = ""     // too few bytes so far
	FormatPCM     Format = "pcm"  // raw s16le 16 kHz mono; also anything without a magic
	FormatWAV     Format = "wav"  // RIFF/WAVE
	FormatWebM    Format = "webm" // Matroska, as MediaRecorder sends
	FormatOgg     Format = "ogg"
	FormatFLAC    Format = "flac"
	FormatMP3     Format = "mp3"
	FormatMP4     Format = "mp4"
	FormatRIFF    Format = "riff" // RIFF that is not WAVE, or its 64-bit and big-endian kin
)

// sniff decides on the first bytes of a stream. It answers FormatUnknown as long as
// more bytes could still change the answer, unless last says that none will come.
func sniff(head []byte, last bool) Format {
	for _, m := range []struct {
		magic  string
		format Format
	}{{"\x1a\x45\xdf\xa3", FormatWebM}, {"OggS", FormatOgg}, {"fLaC", FormatFLAC}} {
		switch begins(head, m.magic) {
		case yes:
			return m.format
		case maybe:
			if !last {
				return FormatUnknown
			}
		}
	}
	if f, found := sniffRIFF(head, last); found {
		return f
	}
	if len(head) < 8 && !last {
		return FormatUnknown
	}
	if len(head) >= 8 && string(head[4:8]) == "ftyp" {
		return FormatMP4
	}
	return sniffMP3(head, last)
}

func sniffRIFF(head []byte, last bool) (Format, bool) {
	for _, magic := range []string{"RF64", "RIFX"} {
		if begins(head, magic) == yes {
			return FormatRIFF, true
		}
	}
	if begins(head, "RIFF") != yes {
		return FormatUnknown, false
	}
	if len(head) < 12 {
		if last {
			return FormatRIFF, true
		}
		return FormatUnknown, true
	}
	if string(head[8:12]) == "WAVE" {
		return FormatWAV, true
	}
	return FormatRIFF, true
}

// sniffMP3 wants two frame headers in a row: quiet raw PCM often begins with bytes
// that look like one, and refusing good audio would be worse than a late refusal.
func sniffMP3(head []byte, last bool) Format {
	if len(head) >= 4 && string(head[:3]) == "ID3" && head[3] < 0x10 {
		return FormatMP3
	}
	length := mp3FrameLength(head)
	switch {
	case length == 0:
		return FormatPCM
	case len(head) < length+4 && last:
		return FormatPCM
	case len(head) < length+4:
		return FormatUnknown
	case mp3FrameLength(head[length:]) != 0 && head[length+1] == head[1]:
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
