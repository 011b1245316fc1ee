// Package schema knows what the payload of each event type must look like: it
// holds the JSON Schemas (HolyFields), validates payloads against them and
// names every fault with its JSON pointer.
//
// The schemas of the product are embedded; more come from a folder. A registry
// never changes after [Open], so reading it takes no lock. It knows no
// envelope, no log and no door, and it never goes to the network: a reference
// to a schema that is not at hand is an error.
//
// Every payload is judged by a reference implementation of JSON Schema. Because
// that costs more than everything else an event meets on its way in, a second
// checker (check.go) walks the bytes first. It may only say "certainly valid"
// or "ask the reference"; it never refuses.
package schema

//go:generate go run ./gen -in gen/testdata -out holyfields
