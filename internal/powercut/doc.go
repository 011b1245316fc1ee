// Package powercut proves the promise of a receipt by cutting the power: it holds nothing but tests, which drive the
// gateway, the log, the dispatcher and the dead letters on one file system in memory, beside a bus that can lose what it
// has not synced.
//
// # The law
//
// The power may go before any operation on the disk, also while a recovery from an earlier cut runs, and any part of
// what was not synced may be there or not, torn at sectors of 512 bytes or pages of 4 KiB, in any order: bytes, lengths,
// names of files and of folders. A process may die alone, and what it wrote stays in the page cache. After every cut:
//
//   - every event whose Accept had returned is on the bus, or pending in the log, or an open dead letter, and no
//     sequence is in two of the three;
//   - nothing appears that was never offered, and no record is torn;
//   - a sequence that was told or read back names the same event for ever;
//   - the cursor never passes an event that the bus could still lose;
//   - the events of a key are on the bus in the order in which they were accepted, but for dead letters;
//   - an id that was accepted is answered as a duplicate when it comes again, as long as the log or the store knows it;
//   - once the bus works, everything comes to rest: on the bus for good, or listed as dead.
//
// The package knows no door, no store and no real broker. Its mutation tests break one promise of the file system, the
// gateway or the bus each, and require that the machine finds the loss.
package powercut
