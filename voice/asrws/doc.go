// Package asrws is the door for WhisperLiveKit clients: the WebSocket at /asr.
//
// It follows version 0.2.26, and with ?compat=0.2.8 the messages that were spoken until
// then (0.2.9 renamed the times of lines, 0.2.10 brought config).
//
// A client sends its audio in binary frames and an empty one at the end. It is sent,
// as text: a config message, then the whole state again whenever it changes (a line for
// each finished utterance, and the open one in buffer_transcription), and ready_to_stop.
// With ?mode=diff states are a snapshot and then differences, which the documented client
// and the one that fits upstream's server both read right. With ?compat=0.2.8 there is no
// config and lines have the old names beside the new.
//
// Old clients take any message of an unknown type for an empty state and clear their
// page, so news of ours goes into extra keys of these messages and never into new ones:
// in config all behind mode; in a state received_bytes, finished_ms, last_utterance and
// lines_dropped; in a line event_id. Ours are too the text frames {"type":"KeepAlive"},
// "Finalize" and "CloseStream", where upstream has none, the close code 4409, the header
// X-Session-Id and the parameters session_id, resume_token, after, endpoint_ms,
// max_utterance_ms, source, target and compat.
//
// Where the recogniser is a WhisperLiveKit server itself, of 0.2.10 or newer, a client of
// mode full that names no session gets that server's states byte for byte, translations
// and speakers included, until the server is lost. All others get lines of ours.
//
// A connection that breaks does not end its session. The client connects again with
// session_id and resume_token of config, is told the lines that it missed, and sends its
// audio on from received_bytes.
//
// The package knows no log, no bus and no store: what is heard goes to a [voice.Emitter].
// Clients that are slow to ask for the upgrade are the HTTP server's to time out.
package asrws
