// Package streamws is the native door for speech: the WebSocket at /api/v1/voice.
//
// The client sends audio in binary frames: raw s16le at 16 kHz, mono, or any container
// that the desk decodes. Text frames are controls: {"type":"KeepAlive"}, "Finalize" (end
// the open utterance now) and "CloseStream"; an empty binary frame is a CloseStream too.
//
// The server sends JSON. Every message has type, session_id and seq, which counts the
// messages of one connection from 1. Times are seconds on the audio clock, which starts
// with the session. What is not known is null.
//
//	session.started   the first message: ids, the resume_token, and where the audio goes on
//	speech.started    somebody began to speak
//	partial           text of an open utterance; each replaces the one before
//	utterance.ended   the speaker has paused, the outcome follows
//	final             a finished utterance: immutable, once; event_id is its published event
//	progress          at most twice a second: how far audio was received and settled
//	recogniser.away   the server that transcribes was lost; what is said is kept for it
//	recogniser.back   it is there again
//	error             code, message, and whether trying again may help
//	session.ended     the last message: totals and the reason
//
// A client that lost its connection comes back with session_id, resume_token and after,
// the last utterance whose outcome it has. It is told the rest and goes on in its stream
// behind received_bytes (with 0: with a new stream).
//
// Before the upgrade: 401 for a missing or wrong token, 403 for a foreign page, 503 when
// no session can be taken in. Close codes after it:
//
//	1000  session.ended was sent
//	1001  the server goes down; session.ended was sent
//	1003  the audio cannot be decoded; error and session.ended were sent
//	1008  slow_consumer: the client fell behind by thousands of updates; resumable
//	1009  a frame over the limit; resumable
//	1011  a fault of the server
//	1013  no session now, try again later
//	4400  a bad parameter; the error says which
//	4403  the resume_token is wrong
//	4404  the session to resume is not known any more
//	4409  the session id is in use, or another connection has taken the session over
//
// A slow reader holds nothing up: partials are dropped first and finals never; one that
// reads nothing for 20 seconds is cut off and can resume.
//
// The package knows no log, no bus and no store: what is heard goes to a [voice.Emitter].
package streamws
