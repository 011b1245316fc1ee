// Package openai is the recogniser behind any server that speaks OpenAI's transcription
// interface: Speaches, the server of whisper.cpp (path "inference"), hosted ones.
//
// Utterances are found here, by [voice.Segmenter]; each is posted as a WAV file and its
// answer becomes a final. A server that is down, slow or overloaded is asked again for a
// bounded time, then the utterance fails and the stream goes on. Asking twice is
// harmless: a transcription changes nothing there.
//
// The package knows no session, no event and no log.
package openai
