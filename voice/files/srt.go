package files

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Segment is a stretch of speech for subtitles. Times are on the recording's clock.
type Segment struct {
	Start, End time.Duration
	Text       string
}

// WriteSRT writes SubRip subtitles. Segments without text are left out. Times are rounded
// to milliseconds; one before zero is zero, and an end before its start is the start.
func WriteSRT(w io.Writer, segments []Segment) error {
	number := 0
	for _, s := range segments {
		// SubRip has no escape, so what would end a cue or look like its times is changed.
		text := strings.ReplaceAll(cueText(s.Text), "-->", "-- >")
		if text == "" {
			continue
		}
		number++
		start, end := cueTimes(s, ',')
		if _, err := fmt.Fprintf(w, "%d\n%s --> %s\n%s\n\n", number, start, end, text); err != nil {
			return err
		}
	}
	return nil
}

// cueText is text without empty lines, which would end a cue.
func cueText(text string) string {
	var lines []string
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == '\r' || r == 0 }) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

func cueTimes(s Segment, point rune) (start, end string) {
	from := max(0, s.Start)
	return cueTime(from, point), cueTime(max(from, s.End), point)
}

// cueTime is HH:MM:SS, the point and milliseconds. Hours grow as they need to.
func cueTime(t time.Duration, point rune) string {
	ms := t.Round(time.Millisecond).Milliseconds()
	return fmt.Sprintf("%02d:%02d:%02d%c%03d", ms/3_600_000, ms/60_000%60, ms/1000%60, point, ms%1000)
}
