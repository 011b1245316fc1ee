package segment

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// blank is a block of newlines.
const blank = blank64 + blank64 + blank64 + blank64 + blank64 + blank64 + blank64 + blank64

const blank64 = "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"

// Fill writes newlines from off to end, a piece at a time so that it can be stopped between two.
func Fill(ctx context.Context, dst io.WriterAt, off, end int64) error {
	piece := []byte(strings.Repeat("\n", int(min(chunk, max(0, end-off)))))
	for off < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := dst.WriteAt(piece[:min(int64(len(piece)), end-off)], off)
		if err != nil {
			return fmt.Errorf("fill at %d: %w", off, err)
		}
		off += int64(n)
	}
	return nil
}

const suffix = ".jsonl"

// Name is the file name of the segment with this number. Names sort as numbers do.
func Name(id uint64) string { return fmt.Sprintf("%016d%s", id, suffix) }

// ParseName is the reverse of Name.
func ParseName(name string) (id uint64, ok bool) {
	digits, found := strings.CutSuffix(name, suffix)
	if !found || len(digits) < 16 {
		return 0, false
	}
	id, rest, ok := parseUint([]byte(strings.TrimLeft(digits, "0")))
	return id, ok && len(rest) == 0
}
