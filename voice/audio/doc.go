// Package audio turns the bytes of a voice client into 16 kHz mono samples and
// those samples into utterances.
//
// Three parts, each usable alone: a [Decoder] finds out what a stream is (WAV or
// raw PCM) and yields samples, a [Resampler] brings any rate to 16 kHz, and an
// [Endpointer] decides where speech begins and ends. All three work on streams:
// they hold a bounded amount of state however long the stream is, and how the
// bytes are cut into writes never changes what comes out.
//
// The package knows no recogniser, no session, no event and no network. None of
// its types is safe for use by several goroutines at once.
package audio
