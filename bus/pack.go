package bus

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
)

// EncodingGzip is the content coding of compressed data.
const EncodingGzip = "gzip"

// MaxUnpacked is how large data may become that is unpacked without a limit of
// the caller's own, in bytes. It is far above the largest event.
const MaxUnpacked = 64 << 20

// Sentinels of [Unpack]. None of them can be mended by trying again.
var (
	// ErrEncoding: the message names a coding that is not known here.
	ErrEncoding = errors.New("bus: unknown encoding")
	// ErrDamaged: the data is not what its encoding says.
	ErrDamaged = errors.New("bus: damaged data")
	// ErrUnpackedSize: the data becomes larger than the limit, by accident or as
	// a bomb.
	ErrUnpackedSize = errors.New("bus: unpacked data over the limit")
)

// Packer compresses messages. It keeps its memory between calls and belongs to
// one goroutine at a time. The zero value is ready.
type Packer struct {
	zip *gzip.Writer
	buf bytes.Buffer
}

// Pack returns m with its data compressed where that makes it smaller, else as
// it is; so too where m is packed already. m.Data is left alone.
func (p *Packer) Pack(m Message) Message {
	if m.Encoding != "" {
		return m
	}
	p.buf.Reset()
	if p.zip == nil {
		p.zip, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // fails for other levels only
	}
	p.zip.Reset(&p.buf)
	_, err := p.zip.Write(m.Data)
	if errors.Join(err, p.zip.Close()) != nil || p.buf.Len() >= len(m.Data) {
		return m // plain is always right
	}
	m.Data, m.Encoding = bytes.Clone(p.buf.Bytes()), EncodingGzip
	return m
}

// Unpack returns the wire form of the envelope in m: m.Data itself where it is
// plain. Data that would become larger than limit bytes is refused without being
// unpacked further; 0 means [MaxUnpacked]. Plain data has no limit here.
func Unpack(m Message, limit int) ([]byte, error) {
	switch m.Encoding {
	case "":
		return m.Data, nil
	case EncodingGzip:
	default:
		return nil, fmt.Errorf("%w %q", ErrEncoding, m.Encoding)
	}
	if limit <= 0 {
		limit = MaxUnpacked
	}
	zip, err := gzip.NewReader(bytes.NewReader(m.Data))
	if err != nil {
		return nil, fmt.Errorf("%w: no gzip: %w", ErrDamaged, err)
	}
	// One byte more tells data of exactly the limit, and its checksum is read.
	data, err := io.ReadAll(io.LimitReader(zip, int64(limit)+1))
	switch {
	case len(data) > limit:
		return nil, fmt.Errorf("%w of %d bytes", ErrUnpackedSize, limit)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return data, nil
}
