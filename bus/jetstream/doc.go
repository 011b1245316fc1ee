// Package jetstream is the bus on NATS JetStream: by default a server inside
// this process ([Open]), with no port open, that keeps its messages in files
// below one folder; or servers elsewhere, one or a cluster ([Dial]).
//
// It knows the broker and nothing else: no write-ahead log, no store, no
// schema, no retry policy. What it promises is in bus.Publisher and
// bus.Subscriber; what a confirm is worth is in its Features.
//
// A confirm (PubAck) of JetStream means "written to the page cache": it
// survives the death of the process, not a power cut. The server syncs its
// files every Options.SyncInterval, so Features.SafeDelay is two intervals and
// a margin; the owner of the log keeps its records until then. After an unclean
// start the owner asks Recall what is here and sends the rest again. Servers
// elsewhere do not tell their interval: their makers' default of two minutes is
// assumed, unless DialOptions says otherwise.
//
// The embedded server has one owner, so a group reads fast: one acknowledgement
// stands for all before. Servers elsewhere may have several bb processes in one
// group, so there each message is acknowledged by itself and what a process holds
// gets signs of life (keep.go). Their stream is taken as it is found where it
// keeps what we promise, and refused by the name of the setting where it does not
// (adopt.go).
//
// Nothing is ever dropped by age or size while a group still needs it: the
// stream has no limits at all, and a janitor purges what every group has
// acknowledged.
package jetstream
