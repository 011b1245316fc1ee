// Package faultproxy stands between a client and a server on TCP and breaks the
// way on demand: latency, resets in the middle of a frame, half-open connections,
// vanished answers, black holes. It needs nothing of the server, so that a user's
// own can be tested without touching it.
//
// It knows bytes and sockets, no protocol.
package faultproxy
