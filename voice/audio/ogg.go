package audio

import (
	"fmt"
)

const (
	// Pages before the one that names the codec.
	maxOggHeader = 1 << 20
	// Comments, which may hold a picture.
	maxOggComments = 16 << 20
)

// oggReader plays the Opus stream in an Ogg stream, or one after the other where several
// are chained.
type oggReader struct {
	in     pending
	table  *[256]uint32
	other  string // a codec that was seen instead of Opus
	begun  bool   // a first page was seen
	serial uint32
	number uint32 // of the page that should come next
	stage  oggStage
	track  *opusTrack
	gaps   gapFiller

	part     []byte // a packet that goes on on the next page
	spare    []byte // the memory of the part before
	inPart   bool
	comments int64 // bytes of the comments so far
	packets  [][]byte
}

type oggStage int

const (
	oggSeek     oggStage = iota // no Opus stream found yet
	oggComments                 // its comments are to come
	oggSound
	oggEnd // the stream has ended; another may follow
)

func newOggReader() *oggReader { return &oggReader{table: oggTable()} }

func (o *oggReader) settled() bool { return o.stage != oggSeek }

func (o *oggReader) decode(dst []int16, p []byte) ([]int16, error) {
	o.in.add(p)
	for {
		if len(o.in.rest()) == 0 {
			return dst, nil
		}
		page, size, err := nextPage(o.in.rest(), o.table)
		if err == nil && size == 0 {
			return dst, nil
		}
		if err == nil {
			dst, err = o.page(dst, page)
		}
		if err != nil {
			return dst, o.complaint(err)
		}
		o.in.drop(int64(size))
	}
}

func (o *oggReader) complaint(err error) error {
	if f, ok := err.(*FormatError); ok {
		return f
	}
	return formatError(FormatOgg, fmt.Sprintf("%v (in the page at byte %d)", err, o.in.gone))
}

func (o *oggReader) page(dst []int16, p oggPage) ([]int16, error) {
	if p.flags&oggFirst != 0 {
		return dst, o.first(p)
	}
	switch o.stage {
	case oggSeek:
		// All streams begin before any goes on, so there is no Opus stream to come.
		switch {
		case o.other != "":
			return dst, foreign(FormatOgg, "holds "+o.other+", not Opus")
		case !o.begun:
			return dst, formatError(FormatOgg, "begins in the middle of a stream; begin with its first page")
		case o.in.gone > maxOggHeader:
			return dst, formatError(FormatOgg, "has no sound within its first MiB")
		}
		return dst, nil
	case oggEnd:
		return dst, nil
	}
	if p.serial != o.serial {
		return dst, nil
	}
	lost := p.number != o.number
	o.number = p.number + 1
	err := o.collect(p, lost)
	if err == nil && len(o.packets) > 0 {
		dst, err = o.play(dst, p)
	}
	if p.flags&oggLast != 0 {
		o.stage = oggEnd
	}
	return dst, err
}

// first looks at the page that begins a stream.
func (o *oggReader) first(p oggPage) error {
	o.begun = true
	codec := oggCodec(p.body)
	if codec != "opus" {
		if o.stage == oggEnd {
			return fmt.Errorf("goes on with %s after its Opus stream", codec)
		}
		if o.other == "" {
			o.other = codec
		}
		return nil
	}
	if o.stage == oggComments || o.stage == oggSound && p.serial != o.serial {
		return nil // a second one side by side: the first is played
	}
	h, err := parseOpusHead(p.body)
	if err != nil {
		if o.stage == oggSeek {
			return foreign(FormatOgg, err.Error())
		}
		return err
	}
	var clock int64
	if o.track != nil {
		clock = o.track.clock()
	}
	if o.track, err = newOpusTrack(h); err != nil {
		return err
	}
	o.track.time = clock
	o.serial, o.number, o.stage = p.serial, p.number+1, oggComments
	o.inPart, o.comments, o.gaps.known = false, 0, false
	return nil
}

// collect puts the packets that end on the page into o.packets. They are valid until the
// next page.
func (o *oggReader) collect(p oggPage, lost bool) error {
	o.packets = o.packets[:0]
	continued := p.flags&oggContinued != 0
	joined := o.inPart && continued && !lost // the first piece belongs to o.part
	broken := continued && !joined           // its beginning was lost
	body := p.body
	size := 0
	for i, s := range p.segments {
		size += int(s)
		ends := s < 255
		if !ends && i+1 < len(p.segments) {
			continue
		}
		piece := body[:size]
		body, size = body[size:], 0
		if err := o.piece(piece, joined, broken, ends); err != nil {
			return err
		}
		joined, broken = false, false
	}
	return nil
}

// piece takes what a page has of one packet. What does not end here is kept.
func (o *oggReader) piece(p []byte, joined, broken, ends bool) error {
	if o.stage == oggComments {
		if o.comments += int64(len(p)); o.comments > maxOggComments {
			return fmt.Errorf("has comments of more than %d MiB", maxOggComments>>20)
		}
		if ends {
			o.stage = oggSound
		}
		o.inPart = !ends
		o.part = o.part[:0]
		return nil
	}
	if joined || !ends {
		if !joined {
			o.part = o.part[:0]
		}
		if o.part = append(o.part, p...); len(o.part) > maxPacket {
			return fmt.Errorf("has a packet of more than %d bytes", maxPacket)
		}
		if p = o.part; ends {
			// The last packet of the same page may begin another part.
			o.part, o.spare = o.spare, o.part
		}
	}
	o.inPart = !ends && !broken
	if ends && !broken {
		o.packets = append(o.packets, p)
	}
	return nil
}

// play decodes the page's packets. The page says at which time its last packet ends:
// earlier than the packets do, on the last page, means that the rest is padding.
func (o *oggReader) play(dst []int16, p oggPage) ([]int16, error) {
	var length, first int64
	for i, packet := range o.packets {
		n, err := packetTime(packet)
		if err != nil {
			return dst, err
		}
		if i == 0 {
			first = n
		}
		length += n
	}
	trim := int64(0)
	if p.granule >= 0 && p.granule < 1<<60 {
		at := p.granule - length
		last := p.flags&oggLast != 0
		if !o.gaps.known && last {
			at = max(0, at)
			o.gaps.base, o.gaps.known = at-o.track.clock(), true
		}
		dst = o.gaps.fill(dst, o.track, at, first)
		if last {
			trim = o.track.clock() + length + o.gaps.base - p.granule
		}
	}
	start := len(dst)
	for _, packet := range o.packets {
		var err error
		if dst, err = o.track.frame(dst, packet, 0); err != nil {
			return dst, err
		}
	}
	drop := max(0, min(trim/opusThird, int64(len(dst)-start)))
	return dst[:int64(len(dst))-drop], nil
}

// flush gives what is left: nothing, since a page is only good when it is whole.
func (o *oggReader) flush(dst []int16) ([]int16, error) {
	if o.stage == oggSeek {
		if o.other != "" {
			return dst, foreign(FormatOgg, "holds "+o.other+", not Opus")
		}
		return dst, formatError(FormatOgg, "ends before its sound begins")
	}
	return dst, nil
}
