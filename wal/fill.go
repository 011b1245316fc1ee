package wal

import (
	"github.com/33god/bloodbank/wal/segment"
	"github.com/33god/bloodbank/wal/vfs"
)

// fillPiece is how much of a new segment is on its way to the disk at once.
const fillPiece = 1 << 20

// fill writes newlines over the whole file and syncs piece by piece. A disk flushes all that was written before: an
// append that comes meanwhile waits behind one piece, not behind a whole segment.
func (k *keeper) fill(f vfs.File, size int64) error {
	for off := int64(0); off < size; off += fillPiece {
		if err := segment.Fill(k.ctx, f, off, min(off+fillPiece, size)); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return nil
}
