// Package wsdoor is what the doors for speech share: who may come in, how a refusal
// looks, and a WebSocket connection that is read in small pieces, watched with pings and
// written to within a time limit.
//
// It knows the desk's errors and no protocol: what a message means is the door's affair.
package wsdoor
