// Package wal is the durable truth of what was accepted: an append-only log of records that survives crashes, read by
// followers that each keep a position of their own.
//
// It stores bytes: a record is one line that the caller says is JSON. It knows no envelopes, no bus and no store, and
// imports nothing but its own subpackages: wal/segment (the bytes of one file) and wal/vfs (the file system).
//
// # The laws
//
//   - Append returns without error only after fdatasync has covered the record. From then on it is read back with the
//     same sequence and the same bytes until Truncate gives it away.
//   - Sequences begin at 1 and rise by 1 in the order of commits. A reader sees a record only when it is durable.
//   - An append that failed, or whose context ended, MAY still appear later; its sequence was told to nobody. It never
//     appears twice, and never in place of an acknowledged record.
//   - After a failed fsync that segment takes no more records and its fsync is never tried again. The next append goes
//     to a new segment whose header names the first sequence it holds; what the old one holds from there on is void.
//   - Open trusts no fsync of the process before it: that one may have failed and left bytes that are read back but are
//     not on the disk. So the newest segment is written again and synced before anything of it is shown.
//   - Bytes that are neither a record nor blank are never skipped in silence: they are moved to the quarantine folder
//     with a reason, and stay listed in [Status] and by [Inspect].
//
// # The folder
//
//	lock                       who has the log: process id and owner
//	0000000000000007.jsonl     segments, numbered in order of use; the last ones may be blank spares
//	*.tmp                      being filled; removed when the log is opened
//	archive/                   drained segments, compressed with zstd (when retention asks for it)
//	cursors/NAME.json          positions of followers
//	quarantine/                damaged bytes, each with a .json file that says where from and why
package wal
