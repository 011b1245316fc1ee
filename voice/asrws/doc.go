// Package asrws is the door for WhisperLiveKit clients: the WebSocket at /asr.
//
// A client sends its audio in binary frames and an empty one at the end. It is sent,
// as text: a config message, then the whole state again whenever it changes (a line for
// each finished utterance, and the open one in buffer_transcription), and ready_to_stop.
// Old clients take any message of an unknown type for an empty state and clear their
// page, so news of ours goes into extra keys of these messages and never into new ones.
//
// The package knows no log, no bus and no store: what is heard goes to a [voice.Emitter].
package asrws
