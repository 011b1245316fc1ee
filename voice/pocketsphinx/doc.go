// Package pocketsphinx is the recogniser that works with no network and nothing to
// train: Debian's libpocketsphinx3 with its American English model.
//
// The C library ends its process on a broken model, so it never runs in ours. The
// [Recogniser] starts worker processes of the same binary (see [RunWorker]) and talks to
// them in length-prefixed frames on their standard input and output:
//
//	length  uint32, big-endian: of what follows
//	kind    1 byte
//	id      uint32: a reply has the id of its request
//	body    samples, JSON or text, by kind
//
// Each worker has two decoders that work side by side. One hears whole utterances, from
// which the channel was taken out before (see centre); it makes the finals. The other,
// with lighter settings, makes interim text. A final is begun in the pause that may end
// its utterance when a decoder is free. A worker that
// dies fails the utterance it had and is started again for the next.
//
// The package knows no session, no event and no log.
package pocketsphinx
