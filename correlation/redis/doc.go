// Package redis keeps who caused whom in Redis, in the keys and values of the
// original Bloodbank: Python services and this one share a Redis, and each reads
// what the other writes.
//
//	bloodbank:correlation:forward:{child}   JSON: parent_event_ids, created_at, metadata
//	bloodbank:correlation:reverse:{parent}  set of children
//	bloodbank:correlation:followed:{name}   ours alone: how far a follower has come
//
// All expire. Events without parents have no keys, so an event that nobody
// names is known only if [Options.Lookup] says so.
//
// It knows no store and no bus. Redis may lose what it has; the store is the
// truth from which a follower fills it again ([Tracker.Keep]). A Redis that is
// down or silent costs one timeout: from then on calls fail at once, until a
// probe in the background has been answered.
package redis
