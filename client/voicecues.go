package client

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Cue is a stretch of speech in subtitles. Times are the recording's.
type Cue struct {
	Start, End time.Duration
	Text       string
}

// WriteSRT writes cues as SubRip subtitles. Those without text are left out.
func WriteSRT(w io.Writer, cues []Cue) error {
	// SubRip has no escape; an arrow would be read as times.
	clean := strings.NewReplacer("-->", "-- >")
	n := 0
	for _, cue := range cues {
		text := clean.Replace(oneLine(cue.Text))
		if text == "" {
			continue
		}
		n++
		if _, err := fmt.Fprintf(w, "%d\n%s\n%s\n\n", n, cue.times(','), text); err != nil {
			return err
		}
	}
	return nil
}

// WriteVTT writes cues as WebVTT subtitles. Those without text are left out.
func WriteVTT(w io.Writer, cues []Cue) error {
	if _, err := io.WriteString(w, "WEBVTT\n\n"); err != nil {
		return err
	}
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	for _, cue := range cues {
		text := escape.Replace(oneLine(cue.Text))
		if text == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s\n%s\n\n", cue.times('.'), text); err != nil {
			return err
		}
	}
	return nil
}

// oneLine is text without line ends, of which two would end a cue.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func (c Cue) times(point rune) string {
	start := max(0, c.Start)
	return cueTime(start, point) + " --> " + cueTime(max(start, c.End), point)
}

func cueTime(t time.Duration, point rune) string {
	ms := t.Round(time.Millisecond).Milliseconds()
	return fmt.Sprintf("%02d:%02d:%02d%c%03d", ms/3_600_000, ms/60_000%60, ms/1000%60, point, ms%1000)
}
