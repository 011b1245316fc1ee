// Package jetstream is the bus on NATS JetStream: by default a server inside
// this process, with no port open, that keeps its messages in files below one
// folder.
//
// It knows the broker and nothing else: no write-ahead log, no store, no
// schema, no retry policy. What it promises is in bus.Publisher and
// bus.Subscriber; what a confirm is worth is in its Features.
//
// A confirm (PubAck) of JetStream means "written to the page cache": it
// survives the death of the process, not a power cut. The server syncs its
// files every Options.SyncInterval, so Features.SafeDelay is two intervals and
// a margin; the owner of the log keeps its records until then. After an unclean
// start the owner asks Recall what is here and sends the rest again.
//
// Nothing is ever dropped by age or size while a group still needs it: the
// stream has no limits at all, and a janitor purges what every group has
// acknowledged.
package jetstream
