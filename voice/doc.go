// Package voice turns what somebody says into events.
//
// A [Session] takes the bytes of one client, has a [Recogniser] write down what is
// said, and publishes one event for each finished utterance through an [Emitter]:
//
//	bytes ─ audio.Decoder ─ Stream (Recogniser) ─ Transcription ─ Emitter
//
// A recogniser that works utterance by utterance implements only [Engine] and lets a
// [Segmenter] find the utterances; one that listens to the whole stream implements
// [Stream] itself. Each recogniser has a folder of its own below this one, and all
// pass the suite in recognisertest.
//
// The package knows no log, no bus, no store and no network: accepted is what the
// Emitter says is accepted.
package voice
