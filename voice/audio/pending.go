package audio

// pending holds the bytes of a stream that are not understood yet. It moves them seldom,
// so that many small writes cost little, and keeps its memory for the next ones.
type pending struct {
	buf  []byte
	from int   // buf[from:] is still to be read
	gone int64 // bytes read or skipped since the stream began
}

// add appends p.
func (b *pending) add(p []byte) {
	if b.from > 0 && (b.from == len(b.buf) || len(b.buf)+len(p) > cap(b.buf)) {
		b.buf = b.buf[:copy(b.buf, b.buf[b.from:])]
		b.from = 0
	}
	b.buf = append(b.buf, p...)
}

// rest is what is still to be read. It is valid until the next add.
func (b *pending) rest() []byte { return b.buf[b.from:] }

// drop marks up to n bytes as read and says how many there were.
func (b *pending) drop(n int64) int64 {
	n = min(n, int64(len(b.buf)-b.from))
	b.from += int(n)
	b.gone += n
	return n
}
