// Package files is the door for whole recordings: POST /v1/audio/transcriptions, in the
// form of OpenAI's API. It also writes subtitles, for the command line too.
//
// The form is multipart: file, and optionally language, response_format (json, text, srt,
// vtt, verbose_json) and timestamp_granularities[]. All else, model included, is ignored.
// The upload goes to a temporary file, not to memory: fields may come behind the file, and
// telephones put the index of theirs at its end. From there it is decoded and heard
// piece by piece, as a session of its own: each utterance becomes an event.
//
// Errors are {"detail": …, "error": {message, type, param, code}}: 400 for a bad form or
// audio, 401, 403, 408 for an upload that stands still or a transcription that takes too
// long, 413, 415, 503 when no session can be taken in, 507. When an utterance is lost, the
// answer is an error that says so, never a text with a hole in it; what was heard is
// published in any case.
//
// The package knows no log, no bus and no store: what is heard goes to a [voice.Emitter].
package files
