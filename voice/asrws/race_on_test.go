//go:build race

package asrws_test

// raced says that the race detector slows everything down.
const raced = true
