// Package torture breaks a running server, and the ways to its broker and store,
// at random moments, and checks that nothing was lost.
//
// It drives bb up as a child process from outside, as its users do: publishers
// send events and note every receipt; meanwhile the child is killed, frozen and
// stopped, and the ways to the user's own servers are cut, stalled and emptied by
// proxies in between. What was received is the oracle: every event with a receipt
// must be in the store exactly once and unchanged, or a dead letter with a reason.
//
// It knows the client and processes. It knows nothing of the server's inside: no
// log, no driver and no composition. Of other people's servers it touches only
// what the child made there, under names of its own, and removes that.
package torture
