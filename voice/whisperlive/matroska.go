package whisperlive

import "encoding/binary"

// A server that takes no raw samples gives what it gets to ffmpeg, which reads Matroska
// with plain samples as soon as the header is there; of WAV it wants 180 kB first.
//
//	EBML header | Segment, unknown size | Info | Tracks | Cluster | Cluster ...
//	Cluster = size | Timestamp in ms | SimpleBlock (track 1, offset 0, key frame, samples)

// element appends an element of known size; its id is in the form of the format.
func element(dst []byte, id uint32, body []byte) []byte {
	dst = identify(dst, id)
	dst = binary.BigEndian.AppendUint32(dst, 0x10000000|uint32(len(body)))
	return append(dst, body...)
}

func identify(dst []byte, id uint32) []byte {
	full := binary.BigEndian.AppendUint32(nil, id)
	for len(full) > 1 && full[0] == 0 {
		full = full[1:]
	}
	return append(dst, full...)
}

func number(dst []byte, id uint32, n uint64) []byte {
	return element(dst, id, binary.BigEndian.AppendUint64(nil, n))
}

// matroskaHeader is what comes before the first samples.
func matroskaHeader() []byte {
	var head []byte
	head = number(head, 0x4286, 1) // version, read version, longest id, longest size
	head = number(head, 0x42F7, 1)
	head = number(head, 0x42F2, 4)
	head = number(head, 0x42F3, 8)
	head = element(head, 0x4282, []byte("matroska"))
	head = number(head, 0x4287, 4)
	head = number(head, 0x4285, 2)
	out := element(nil, 0x1A45DFA3, head)
	out = identify(out, 0x18538067) // Segment
	out = append(out, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF)

	info := number(nil, 0x2AD7B1, 1_000_000) // timestamps in ms
	info = element(info, 0x4D80, []byte("bloodbank"))
	info = element(info, 0x5741, []byte("bloodbank"))
	out = element(out, 0x1549A966, info)

	sound := element(nil, 0xB5, binary.BigEndian.AppendUint32(nil, 0x467A0000)) // 16000.0
	sound = number(sound, 0x9F, 1)
	sound = number(sound, 0x6264, 16)
	track := number(nil, 0xD7, 1)
	track = number(track, 0x73C5, 1)
	track = number(track, 0x83, 2) // audio
	track = number(track, 0x9C, 0)
	track = element(track, 0x86, []byte("A_PCM/INT/LIT"))
	track = element(track, 0xE1, sound)
	return element(out, 0x1654AE6B, element(nil, 0xAE, track))
}

// matroskaCluster wraps samples that begin at the given one.
func matroskaCluster(at int64, pcm []byte) []byte {
	body := number(make([]byte, 0, len(pcm)+64), 0xE7, uint64(at/16))
	block := append([]byte{0x81, 0, 0, 0x80}, pcm...)
	return element(nil, 0x1F43B675, element(body, 0xA3, block))
}
