package files

import (
	"fmt"
	"io"
	"strings"
)

// WriteVTT writes WebVTT subtitles, with &, < and > escaped; otherwise see [WriteSRT].
func WriteVTT(w io.Writer, segments []Segment) error {
	if _, err := io.WriteString(w, "WEBVTT\n\n"); err != nil {
		return err
	}
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	for _, s := range segments {
		text := escape.Replace(cueText(s.Text))
		if text == "" {
			continue
		}
		start, end := cueTimes(s, '.')
		if _, err := fmt.Fprintf(w, "%s --> %s\n%s\n\n", start, end, text); err != nil {
			return err
		}
	}
	return nil
}
