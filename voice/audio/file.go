package audio

import (
	"context"
	"errors"
	"io"
	"os"
)

// DecodeFile decodes a whole recording and gives its samples to sink, piece by piece; pcm
// is only valid during the call. Unlike a stream, a file may have its index at its end, as
// the MP4 of telephones has: ffmpeg then reads the file itself. An error of sink ends it.
//
// f is read from its start, whatever its position. It must be a regular file.
func DecodeFile(ctx context.Context, f *os.File, o Options, sink func(pcm []int16) error) (Format, error) {
	d, err := NewDecoder(ctx, o)
	if err != nil {
		return FormatUnknown, err
	}
	defer d.Close()
	d.file = f
	err = d.readFile(sink)
	return d.format, err
}

func (d *Decoder) readFile(sink func([]int16) error) error {
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	var pcm []int16
	for buffer := make([]byte, maxPiece); d.run == nil; {
		n, err := d.file.Read(buffer)
		if n == 0 && err != nil {
			if !errors.Is(err, io.EOF) {
				return err
			}
			if pcm, err = d.Flush(pcm[:0]); err != nil {
				return err
			}
			return sink(pcm)
		}
		if pcm, err = d.Decode(pcm[:0], buffer[:n]); err != nil {
			return err
		}
		if err = errors.Join(context.Cause(d.ctx), sink(pcm)); err != nil {
			return err
		}
	}
	return d.run.drain(pcm, sink)
}
