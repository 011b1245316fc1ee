package audio

import "time"

// SampleRate is the rate, in samples a second, of everything that leaves this package.
const SampleRate = 16000

// Duration is the time that n samples at [SampleRate] last.
func Duration(n int64) time.Duration {
	// Seconds apart from the rest: n nanoseconds times 1e9 would overflow after 160 hours.
	return time.Duration(n/SampleRate)*time.Second +
		time.Duration(n%SampleRate)*time.Second/SampleRate
}

// Samples is the number of samples at [SampleRate] in d, rounded down.
func Samples(d time.Duration) int64 {
	return int64(d/time.Second)*SampleRate + int64(d%time.Second)*SampleRate/int64(time.Second)
}

// Bytes appends the samples to dst as signed 16-bit little-endian PCM.
func Bytes(dst []byte, pcm []int16) []byte {
	for _, s := range pcm {
		dst = append(dst, byte(s), byte(uint16(s)>>8))
	}
	return dst
}
