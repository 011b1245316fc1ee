// Package listenws is the door for Deepgram clients: the WebSocket at /v1/listen, in the
// part of Deepgram's protocol that streaming clients use.
//
// Query: language; encoding with sample_rate for samples without a container (linear16,
// mulaw, alaw, linear32), else any container; channels=1; interim_results; endpointing in
// milliseconds, true or false; utterance_end_ms; vad_events. All else, model included, is
// ignored. Text frames: KeepAlive, Finalize, CloseStream.
//
// A Metadata message comes first, with a duration of 0, and another one last. In between:
// Results (is_final ones are immutable and come once; speech_final where the speaker has
// paused; from_finalize for what a Finalize asked for, empty where nothing was open),
// SpeechStarted, UtteranceEnd, Error. Numbers that are not known are 0 here, since this
// protocol knows no null, and words are left out where the recogniser has none.
//
// endpointing is kept within 200 ms to 5 s, and left out it is the server's own setting:
// each pause ends an utterance, which becomes an event, so ours are longer than Deepgram's.
//
// Close codes: 1000 after CloseStream, 1001 when the server goes down, 1008 for a client
// that reads too slowly, 1011 after 30 s without a frame and after faults, 4400 for bad
// parameters, for audio that cannot be decoded, and for an empty binary frame. Refused
// before the upgrade: 401, 403 and 503.
//
// These clients cannot resume: when one vanishes, what was heard is published and its
// session ends.
//
// The package knows no log, no bus and no store: what is heard goes to a [voice.Emitter].
package listenws
