package audio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// ErrBusy is returned when the [Transcoder] runs as many processes as it may. The client
// may try again later, or send a format that needs none.
var ErrBusy = errors.New("audio: too many streams are being converted; try again later, or send raw PCM, WAV, or Opus in webm or ogg")

// ErrTranscoder marks a failure of ffmpeg that is not the client's: it was killed, or it
// stands still.
var ErrTranscoder = errors.New("audio: ffmpeg failed")

// TranscoderOptions is what a [Transcoder] is made of. Zero fields take the defaults.
type TranscoderOptions struct {
	Path  string        // the program; default "ffmpeg", looked up when it is first needed
	Limit int           // processes at a time; default 8
	Stall time.Duration // with work to do and no sign of life for so long, it is killed; default 10 s
}

// Transcoder has ffmpeg decode what this package does not: MP3, FLAC, AAC, Vorbis and so
// on. It runs one process for each stream, up to its limit, and is shared by all decoders
// of its owner. It is safe for use by several goroutines.
type Transcoder struct {
	o     TranscoderOptions
	slots chan struct{}
}

// NewTranscoder makes a transcoder. It starts nothing, so there is nothing to close: each
// process ends with its decoder.
func NewTranscoder(o TranscoderOptions) *Transcoder {
	orElse(&o.Path, "ffmpeg")
	orElse(&o.Limit, 8)
	orElse(&o.Stall, 10*time.Second)
	return &Transcoder{o: o, slots: make(chan struct{}, max(1, o.Limit))}
}

// Running is how many processes there are now.
func (t *Transcoder) Running() int { return len(t.slots) }

// start starts a process for a stream of the format, or for a file.
func (t *Transcoder) start(ctx context.Context, f Format, file *os.File) (*conversion, error) {
	select {
	case t.slots <- struct{}{}:
	default:
		return nil, fmt.Errorf("%w (%d at a time)", ErrBusy, cap(t.slots))
	}
	path, err := exec.LookPath(t.o.Path)
	if err != nil {
		<-t.slots
		return nil, &FormatError{Format: f, Reason: "needs ffmpeg, which is not there", advice: "install ffmpeg on the server, or "}
	}
	c := newConversion(f, t.o.Stall)
	c.file = file
	started := make(chan error, 1)
	go c.supervise(path, started, func() { <-t.slots })
	if err := <-started; err != nil {
		<-c.buried
		return nil, fmt.Errorf("%w to start: %w", ErrTranscoder, err)
	}
	c.unhook = context.AfterFunc(ctx, func() { c.kill(context.Cause(ctx)) })
	return c, nil
}

// arguments has ffmpeg read one format from its standard input and nothing else: other
// protocols would let a stream name files and addresses for it to read. The probe is
// small, so that sound comes out soon.
func arguments(f Format, file bool) []string {
	protocol, input := "pipe", "pipe:0"
	if file {
		protocol, input = "file", "file:/dev/stdin" // opened anew, it can be searched in
	}
	args := []string{"-hide_banner", "-loglevel", "error", "-threads", "1",
		"-protocol_whitelist", protocol, "-probesize", "2048", "-analyzeduration", "0"}
	if name := demuxer(f); name != "" {
		args = append(args, "-f", name)
	}
	return append(args, "-i", input, "-map", "0:a:0", "-threads", "1",
		"-f", "s16le", "-ac", "1", "-ar", fmt.Sprint(SampleRate), "-flush_packets", "1", "pipe:1")
}

// demuxer is ffmpeg's name for a format. "": ffmpeg is to find out.
func demuxer(f Format) string {
	switch f {
	case FormatWebM:
		return "matroska"
	case FormatMP4:
		return "mov"
	case FormatAIFF, FormatAU, FormatASF, FormatW64, FormatCAF, FormatAMR, FormatAAC,
		FormatFLAC, FormatMP3, FormatOgg, FormatWAV:
		return string(f)
	}
	return ""
}
