// Package sqlfilter is what the SQL stores share: the filter language as SQL,
// the dictionary of names, the words of an event, and the walk through pages.
// Where databases differ they say so by a [Dialect].
//
// It knows no driver and runs no query. What it calls e is the table events.
package sqlfilter
