package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
)

// recording is what was heard of a file.
type recording struct {
	session  string
	language string // "" if unknown
	duration time.Duration
	finals   []voice.Update // with words
	lost     []voice.Update
}

// errClosing is the cause of what ends because the server goes down.
var errClosing = errors.New("the server is going down; send the recording again later")

// hear has the file written down, as a session.
//
// The client's going ends the reading, and what was heard until then is still published.
// Only when the time is up the rest is given up.
func (d *Door) hear(client context.Context, ticket *voice.Ticket, f *form) (*recording, error) {
	lease, err := ticket.Open(client, voice.SessionOptions{
		Source: voice.SourceDesktopClient, Language: f.language,
		Audio: audio.Options{Raw: audio.RawFormat{}.WithDefaults()},
	})
	if err != nil {
		if errors.Is(err, voice.ErrBusy) || errors.Is(err, voice.ErrUnavailable) {
			err = bloodbank.Errorf(bloodbank.CodeUnavailable, "speech cannot be recognised now: %w", err)
		}
		return nil, err
	}
	limit, giveUp := context.WithCancelCause(context.WithoutCancel(client))
	defer giveUp(nil)
	clock := d.startClock(giveUp)
	defer clock.Stop()
	heard := &recording{session: lease.ID().String(), language: lease.Language()}
	var reading sync.WaitGroup
	var missed error
	reading.Go(func() { missed = heard.follow(context.WithoutCancel(client), lease.Follow(0)) })
	err = d.play(client, limit, lease, f.file, clock)
	totals, endErr := lease.End(limit, reasonOf(err))
	reading.Wait() // End has ended what it reads
	heard.duration = totals.Audio
	switch {
	case errors.Is(context.Cause(limit), errSlow):
		return nil, fmt.Errorf("%w after %s; what was heard until then is published in session %s",
			errSlow, clock.elapsed().Round(time.Second), heard.session)
	case err != nil:
		return nil, classify(err)
	}
	return heard, errors.Join(missed, endErr, heard.check())
}

// play decodes the file into the session.
func (d *Door) play(client, limit context.Context, lease *voice.Lease, file *os.File, clock *clock) error {
	ctx, stop := context.WithCancelCause(limit)
	defer stop(nil)
	defer context.AfterFunc(client, func() { stop(context.Cause(client)) })()
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		select {
		case <-d.o.Desk.Closing():
			stop(errClosing)
		case <-ctx.Done():
		}
	})
	defer stop(nil) // before Wait
	var samples int64
	var bytes []byte
	options := audio.Options{Transcoder: d.o.Desk.Transcoder()}
	_, err := audio.DecodeFile(ctx, file, options, func(pcm []int16) error {
		samples += int64(len(pcm))
		length := audio.Duration(samples)
		if length > d.o.MaxAudio {
			return bloodbank.Errorf(bloodbank.CodeTooLarge, "the recording is longer than %s; cut it", d.o.MaxAudio)
		}
		clock.allow(length)
		bytes = audio.Bytes(bytes[:0], pcm)
		return lease.Write(ctx, bytes)
	})
	switch {
	case context.Cause(ctx) != nil:
		return context.Cause(ctx)
	case err == nil && samples == 0:
		return bloodbank.Errorf(bloodbank.CodeInvalid, "there is no sound in the file")
	}
	return err
}

func reasonOf(err error) voice.Reason {
	switch {
	case err == nil:
		return voice.ReasonEnd
	case errors.Is(err, errClosing):
		return voice.ReasonShutdown
	case errors.Is(err, context.Canceled):
		return voice.ReasonDisconnected
	}
	return voice.ReasonError
}

// classify says whose fault an error of decoding is.
func classify(err error) error {
	switch {
	case errors.Is(err, errClosing), errors.Is(err, audio.ErrBusy):
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "%w", err)
	case errors.Is(err, audio.ErrFormat):
		return bloodbank.Errorf(bloodbank.CodeInvalid, "%w", err)
	}
	return err
}

// follow collects the outcomes of all utterances.
func (h *recording) follow(ctx context.Context, f *voice.Follower) error {
	for {
		u, err := f.Next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case u.Kind == voice.KindFailed:
			h.lost = append(h.lost, u)
		case u.Kind == voice.KindFinal && u.Text != "":
			h.finals = append(h.finals, u)
			if u.Final.Language != "" {
				h.language = u.Final.Language
			}
		}
	}
}

// check refuses to answer with a hole in the text.
func (h *recording) check() error {
	if len(h.lost) == 0 {
		return nil
	}
	first := h.lost[0]
	code := bloodbank.CodeOf(first.Err)
	if errors.Is(first.Err, voice.ErrUnavailable) || errors.Is(first.Err, voice.ErrBusy) {
		code = bloodbank.CodeUnavailable
	}
	return bloodbank.Errorf(code, "%d of %d utterances were lost, the first at %s; the others are published in session %s: %w",
		len(h.lost), len(h.lost)+len(h.finals), first.Start.Round(time.Millisecond), h.session, first.Err)
}

// clock gives a recording up when it takes too long.
type clock struct {
	*time.Timer
	began time.Time
	fixed time.Duration // 0: by the length of what was heard
}

const (
	shortestLimit = 2 * time.Minute
	// slowness is how many seconds a second of sound may take, in halves.
	slowness = 5
)

func (d *Door) startClock(giveUp context.CancelCauseFunc) *clock {
	limit := shortestLimit
	if d.o.Timeout > 0 {
		limit = d.o.Timeout
	}
	return &clock{time.AfterFunc(limit, func() { giveUp(errSlow) }), time.Now(), d.o.Timeout}
}

func (c *clock) elapsed() time.Duration { return time.Since(c.began) }

// allow gives as much time as the sound so far is worth.
func (c *clock) allow(sound time.Duration) {
	if c.fixed == 0 && sound*slowness/2 > shortestLimit && c.Stop() {
		c.Reset(sound*slowness/2 - c.elapsed())
	}
}
