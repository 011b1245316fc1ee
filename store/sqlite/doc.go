// Package sqlite keeps events in one SQLite file: the store that needs no
// server. [Store] implements store.Store and correlation.Tracker.
//
// One connection writes, a few read. The file is in WAL mode with
// synchronous=FULL: when Append returns, a power cut does not lose the batch.
// Other processes may read the file at the same time; a second writer is
// tolerated, but it is slow.
//
// It knows no bus, no log and no HTTP. All it holds can be rebuilt by replay.
package sqlite
