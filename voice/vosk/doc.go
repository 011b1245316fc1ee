// Package vosk is the recogniser behind a Vosk WebSocket server.
//
// The server listens to the whole stream and says itself where utterances end. Audio is
// kept here from the end of the last utterance on, so that a connection that breaks
// costs no word: the next one hears that audio again. What breaks it every time fails.
// The server answers every chunk, which bounds what is on the way.
//
// The package knows no session, no event and no log.
package vosk
