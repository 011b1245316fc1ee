package cli

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// benchReport is what bb bench voice prints. Its fields are for ever.
type benchReport struct {
	Sessions  int             `json:"sessions"`
	Refused   int             `json:"refused"`
	Failed    int             `json:"failed"`
	Finals    int             `json:"finals"`
	Audio     float64         `json:"audio_seconds"`
	Lag       quantiles       `json:"lag_ms"`
	FirstText quantiles       `json:"first_text_ms"`
	Words     int             `json:"words"`
	Differ    int             `json:"differing_words"`
	Breaks    int             `json:"lost_connections"`
	Failures  int             `json:"failed_utterances"`
	CPU       *benchCPU       `json:"server_cpu,omitempty"`
	Each      []*benchSession `json:"each"`

	refusal, failure string
}

// benchCPU is the CPU time of the server and its children.
type benchCPU struct {
	Seconds float64 `json:"seconds"`
	Cores   float64 `json:"cores"` // on average
}

func newBenchReport(all []*benchSession) *benchReport {
	r := &benchReport{Sessions: len(all), Each: all}
	compare(all)
	var lag, early []time.Duration
	for _, s := range all {
		lag, early = append(lag, s.lag...), append(early, s.early...)
		r.Finals += s.Finals
		r.Audio += s.Audio
		r.Words += s.Words
		r.Differ += s.Differ
		r.Breaks += s.Breaks
		r.Failures += s.Failures
		switch {
		case s.Refused:
			r.Refused++
			r.refusal = s.Error
		case s.Error != "" || s.Failures > 0:
			r.Failed++
			if r.failure == "" {
				r.failure = s.Error
			}
		}
	}
	if r.Failed > 0 && r.failure == "" {
		r.failure = "utterances were lost"
	}
	r.Lag, r.FirstText = quantilesOf(lag), quantilesOf(early)
	return r
}

// compare counts, for each session that ran to its end, the words that differ from what
// most sessions with the same recording were told; where as many were told two things,
// from the longer.
func compare(all []*benchSession) {
	heard := map[string]map[string]int{} // by file, then text
	for _, s := range all {
		if s.Error == "" {
			if heard[s.File] == nil {
				heard[s.File] = map[string]int{}
			}
			heard[s.File][strings.Join(s.text, " ")]++
		}
	}
	usual := map[string][]string{}
	for file, texts := range heard {
		best := ""
		for text, n := range texts {
			if n > texts[best] || n == texts[best] && (len(text) > len(best) || len(text) == len(best) && text < best) {
				best = text
			}
		}
		usual[file] = strings.Fields(best)
	}
	for _, s := range all {
		if s.Error == "" {
			s.Differ = wordsApart(usual[s.File], s.text)
		}
	}
}

// wordsApart is how many words to change, add and remove to get from one to the other.
func wordsApart(a, b []string) int {
	if slices.Equal(a, b) {
		return 0
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, word := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j, other := range b {
			change := diagonal
			if word != other {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

func (r *benchReport) print(c *command) error {
	if c.json {
		return json.NewEncoder(c.Stdout).Encode(r)
	}
	w := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "session\tfinals\tlag p50\tp95\tp99\tfirst text p50\tp95\twords\tdiffer\tbreaks\t  file\t")
	for i, s := range r.Each {
		what := visible(filepath.Base(s.File))
		switch {
		case s.Refused:
			what += ": refused"
		case s.Error != "":
			what += ": failed"
		}
		row(w, fmt.Sprint(i+1), s.Finals, s.Lag, s.FirstText, s.Words, s.Differ, s.Breaks, what)
	}
	row(w, "all", r.Finals, r.Lag, r.FirstText, r.Words, r.Differ, r.Breaks, "")
	if err := w.Flush(); err != nil {
		return err
	}
	c.print("\n%d sessions, %d refused, %d failed; %.1f s of speech; %d utterances lost", r.Sessions, r.Refused, r.Failed, r.Audio, r.Failures)
	if r.CPU != nil {
		c.print("CPU of the server: %.2f s, %.2f cores on average", r.CPU.Seconds, r.CPU.Cores)
	}
	return nil
}

func row(w *tabwriter.Writer, name string, finals int, lag, first quantiles, words, differ, breaks int, what string) {
	fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t  %s\t\n", name, finals,
		ms(lag.P50), ms(lag.P95), ms(lag.P99), ms(first.P50), ms(first.P95), words, differ, breaks, what)
}

func ms(v float64) string { return fmt.Sprintf("%.0f ms", v) }
