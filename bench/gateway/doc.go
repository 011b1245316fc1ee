// Package gateway loads a running bb in front of a WhisperLiveKit server: it is that
// server and all of its clients, and measures what bb adds between them. It knows bb
// from outside alone, by its protocol.
package gateway
