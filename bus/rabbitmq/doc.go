// Package rabbitmq is the bus on RabbitMQ (AMQP 0-9-1), wire-compatible with the
// original's producers and consumers.
//
// It knows the broker and nothing else: no write-ahead log, no store, no
// schema, no retry policy. What it promises is in bus.Publisher and
// bus.Subscriber; what a confirm is worth is in its Features.
//
// Topology: one durable topic exchange; the routing key is the event type; each
// group has a durable queue of its own bound to "#", with one active consumer at
// a time. The groups of
// Options.Groups get theirs with every connection, so no event is unroutable
// and nothing depends on a consumer being there first. A group that is not
// named there begins with the first event after its first Consume: RabbitMQ
// keeps messages per queue, not per stream.
//
// A confirm of a quorum queue means "fsynced"; that of a classic queue does not,
// so Features.SafeDelay is 0 only where every named group has a quorum queue, and
// none was made by this process: a new queue itself is not fsynced.
// Messages are persistent and mandatory: one that no queue takes is reported as
// not routed, although the broker confirms it.
//
// Publishing and consuming have a connection each, because a broker in distress
// stops reading from those who publish, acknowledgements included. Both
// reconnect for ever with full jitter; the recovery of the client library stays
// off, because it would resolve open confirms as refused and gives up.
package rabbitmq
