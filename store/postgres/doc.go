// Package postgres keeps events in a PostgreSQL database: the store that several
// processes and machines share. [Store] implements store.Store and
// correlation.Tracker.
//
// A batch is one statement, and so one transaction and one round trip. All that
// append take turns at the server, for the time of that statement alone: so
// sequences are given in the order of commits, and whoever follows them misses
// nothing. No process can hold the others up by stopping in the middle.
//
// Who follows the store is woken by [Store.Listen] as soon as any process has
// committed, and may poll as well.
//
// It knows no bus, no log and no HTTP. All it holds can be rebuilt by replay.
package postgres
