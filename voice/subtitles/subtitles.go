// Package subtitles writes what was said, and when, as SubRip and WebVTT. It knows
// neither sessions nor events: text and times go in, a file comes out.
package subtitles

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Cue is a stretch of speech. Times are on the recording's clock.
type Cue struct {
	Start, End time.Duration
	Text       string
}

// WriteSRT writes SubRip subtitles. Cues without text are left out. Times are rounded
// to milliseconds; one before zero is zero, and an end before its start is the start.
// SubRip has no standard; this is what its players agree on.
func WriteSRT(w io.Writer, cues []Cue) error {
	number := 0
	for _, c := range cues {
		// SubRip has no escape, so what would look like the times of a cue is changed.
		text := strings.ReplaceAll(c.lines(), "-->", "-- >")
		if text == "" {
			continue
		}
		number++
		if _, err := fmt.Fprintf(w, "%d\n%s\n%s\n\n", number, c.times(','), text); err != nil {
			return err
		}
	}
	return nil
}

// WriteVTT writes WebVTT subtitles (https://www.w3.org/TR/webvtt1/), with &, < and >
// escaped; otherwise see [WriteSRT].
func WriteVTT(w io.Writer, cues []Cue) error {
	if _, err := io.WriteString(w, "WEBVTT\n\n"); err != nil {
		return err
	}
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	for _, c := range cues {
		text := escape.Replace(c.lines())
		if text == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s\n%s\n\n", c.times('.'), text); err != nil {
			return err
		}
	}
	return nil
}

// lines is the text without empty lines, which would end a cue.
func (c Cue) lines() string {
	var lines []string
	for line := range strings.FieldsFuncSeq(c.Text, func(r rune) bool { return r == '\n' || r == '\r' || r == 0 }) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

func (c Cue) times(point rune) string {
	start := max(0, c.Start)
	return stamp(start, point) + " --> " + stamp(max(start, c.End), point)
}

// stamp is HH:MM:SS, the point and milliseconds. Hours grow as they need to.
func stamp(t time.Duration, point rune) string {
	ms := t.Round(time.Millisecond).Milliseconds()
	return fmt.Sprintf("%02d:%02d:%02d%c%03d", ms/3_600_000, ms/60_000%60, ms/1000%60, point, ms%1000)
}
