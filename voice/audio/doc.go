// Package audio turns the bytes of a voice client into 16 kHz mono samples and
// those samples into utterances.
//
// Its parts, each usable alone: a [Decoder] finds out what a stream is and yields
// samples, a [Resampler] brings any rate to 16 kHz, and an [Endpointer] decides where
// speech begins and ends. All work on streams: they hold a bounded amount of state
// however long the stream is, and how the bytes are cut into writes never changes what
// comes out.
//
//	raw samples, WAV      sampleReader ──────────────────────── Resampler ─┐
//	webm, ogg  ── frames ─ opusTrack, or pcmTrack ─────────────────────────┼─ 16 kHz mono
//	all others            Transcoder: one ffmpeg for each stream ──────────┘
//
// What is decoded in this process comes out with the byte that completes it. Where a
// container's times show that sound was lost, as much silence takes its place, so that
// the audio clock stays right.
//
// The package knows no recogniser, no session, no event and no network. But for
// [Transcoder], none of its types is safe for use by several goroutines at once.
package audio
