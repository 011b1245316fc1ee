package wal

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/33god/bloodbank/wal/segment"
	"github.com/33god/bloodbank/wal/vfs"
)

// Options says how a log is kept. Only Dir is needed.
type Options struct {
	Dir         string           // the log's own folder; made if missing
	FS          vfs.FS           // nil: the real file system
	SegmentSize int64            // bytes of a segment file; 0: 64 MiB
	MaxBatch    int              // bytes of one commit, unless one request alone is larger; 0: 512 KiB; never more than a segment
	MaxRecord   int              // bytes of one record; must fit a segment; 0: 8 MiB or what a segment can hold
	RetainBytes int64            // bytes of archives kept; 0: no limit by size
	RetainAge   time.Duration    // age of archives kept; 0: no limit by age. Both 0: drained segments are not archived
	Owner       string           // what a second process is told about this one; "": "bloodbank"
	Logger      *slog.Logger     // nil: silent
	Now         func() time.Time // nil: time.Now. Only for times that people read and for retention
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = 64 << 20
	}
	if o.MaxBatch == 0 {
		o.MaxBatch = 512 << 10
	}
	o.MaxBatch = int(min(int64(o.MaxBatch), o.SegmentSize-segment.MaxHeader))
	if o.MaxRecord == 0 {
		o.MaxRecord = int(min(8<<20, o.SegmentSize-segment.MaxHeader-int64(segment.Overhead)))
	}
	if o.Owner == "" {
		o.Owner = "bloodbank"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// validate names every wrong field at once. It wants the defaults filled in.
func (o Options) validate() error {
	var faults []error
	if o.Dir == "" {
		faults = append(faults, errors.New("option Dir is empty: name the folder of the log"))
	}
	if o.SegmentSize < minSegment {
		faults = append(faults, fmt.Errorf("option SegmentSize is %d: at least %d", o.SegmentSize, minSegment))
	}
	if o.MaxBatch < 1 {
		faults = append(faults, fmt.Errorf("option MaxBatch is %d: at least 1", o.MaxBatch))
	}
	if room := o.SegmentSize - segment.MaxHeader - int64(segment.Overhead); o.MaxRecord < 1 || int64(o.MaxRecord) > room {
		faults = append(faults, fmt.Errorf("option MaxRecord is %d: between 1 and %d, what a segment can hold", o.MaxRecord, room))
	}
	if o.RetainBytes < 0 || o.RetainAge < 0 {
		faults = append(faults, errors.New("options RetainBytes and RetainAge must not be negative: 0 is no limit"))
	}
	return errors.Join(faults...)
}

const minSegment = 1024

func (o Options) archives() bool { return o.RetainBytes > 0 || o.RetainAge > 0 }

// maxLine is the longest line that is looked at when reading; records of an earlier, larger MaxRecord stay readable.
func (o Options) maxLine() int { return max(o.MaxRecord, 64<<20) + segment.Overhead }
