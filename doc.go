// Package bloodbank holds the nouns of the event bus: [Envelope], [EventID],
// [EventType], [Source], [AgentContext], [Receipt] and [Error].
//
// It is the leaf that everything else imports; it imports nothing of ours and
// knows no log, no bus, no store and no door. It defines the wire form of an
// event and the one table from error codes to HTTP statuses and exit codes.
//
// The way of an event, and the order in which to read the code:
//
//	voice/asrws ─ voice ┐
//	httpapi ────────────┼─▶ gateway ─▶ wal ─▶ dispatch ─▶ bus ─▶ recorder ─▶ store ─▶ live
//	cli ─ client ───────┘     │
//	                          └─ Receipt: the event is on disk and will not be lost
//
// Left of the [Receipt] everything is synchronous and may refuse. Right of it
// everything is a follower with a name, a position and a lag.
package bloodbank
