package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// topHistory is how many rates are remembered for the curves.
const topHistory = 60

// topScreen draws readings in place.
type topScreen struct {
	url      string
	interval time.Duration
	coloured bool
	accepted []float64
	stored   []float64
}

// Control sequences: another screen without a cursor, and back; home, and wipe
// what is left of a line or of the screen.
const (
	screenEnter = "\x1b[?1049h\x1b[?25l"
	screenLeave = "\x1b[?25h\x1b[?1049l"
	screenHome  = "\x1b[H"
	wipeLine    = "\x1b[K\r\n"
	wipeRest    = "\x1b[J"
)

// draw returns what to write to the terminal.
func (s *topScreen) draw(r reading) string {
	var b strings.Builder
	b.WriteString(screenHome)
	line := func(format string, args ...any) {
		b.WriteString(visible(fmt.Sprintf(format, args...)))
		b.WriteString(wipeLine)
	}
	line("bb top  %s  %s  every %s  q quits", s.url, r.At.Local().Format("15:04:05"), s.interval)
	line("")
	if !r.Up {
		b.WriteString(s.alarm("the server does not answer: " + visible(r.Error)))
		b.WriteString(wipeLine + wipeRest)
		return b.String()
	}
	s.accepted, s.stored = remember(s.accepted, r.AcceptRate), remember(s.stored, r.StoreRate)
	line("accepted   %9.1f /s  %s", r.AcceptRate, curve(s.accepted))
	line("delivered  %9.1f /s", r.DeliverRate)
	line("stored     %9.1f /s  %s", r.StoreRate, curve(s.stored))
	line("")
	line("on the way %9d to the bus, %d to the store; log %s, fsync %.1f ms", r.BusLag, r.StoreLag, bytesText(r.BacklogBytes), r.FsyncMS)
	line("store      %9d events, %s", r.StoreEvents, bytesText(r.StoreBytes))
	line("voice      %9d sessions, %.1f s of speech wait", r.Sessions, r.VoiceLag)
	line("watchers   %9d", r.Watchers)
	dead := fmt.Sprintf("dead       %9d", r.Dead)
	if r.Dead > 0 {
		dead = s.alarm(dead + "  see bb dlq list")
	}
	b.WriteString(dead + wipeLine)
	for _, f := range r.Faults {
		b.WriteString(s.alarm("FAIL  "+visible(f)) + wipeLine)
	}
	b.WriteString(wipeRest)
	return b.String()
}

func (s *topScreen) alarm(text string) string {
	if !s.coloured {
		return text
	}
	return "\x1b[31m" + text + "\x1b[0m"
}

func remember(values []float64, v float64) []float64 {
	values = append(values, v)
	return values[max(len(values)-topHistory, 0):]
}

// curve draws values as bars, the highest of them full.
func curve(values []float64) string {
	bars := []rune("▁▂▃▄▅▆▇█")
	highest := 0.0
	for _, v := range values {
		highest = max(highest, v)
	}
	var b strings.Builder
	for _, v := range values {
		at := 0
		if highest > 0 {
			at = int(v / highest * float64(len(bars)-1))
		}
		b.WriteRune(bars[at])
	}
	return b.String()
}

// bytesText is a size for people.
func bytesText(n int64) string {
	const units = "KMGT"
	v, unit := float64(n), ""
	for i := 0; v >= 1024 && i < len(units); i++ {
		v, unit = v/1024, units[i:i+1]+"i"
	}
	if unit == "" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %sB", v, unit)
}

// keys hands over what is typed, without waiting for the end of a line; nil where
// nobody can type. restore puts the terminal back. What reads ends with the next
// key or with the process: the read of a terminal cannot be taken back.
func (c *command) keys() (typed <-chan byte, restore func()) {
	in, ok := c.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil, func() {}
	}
	state, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, func() {}
	}
	keys := make(chan byte, 1)
	go readKeys(in, keys)
	return keys, func() { _ = term.Restore(int(in.Fd()), state) }
}

// readKeys ends with its input. Keys that nobody waits for are dropped.
func readKeys(in io.Reader, keys chan<- byte) {
	one := make([]byte, 1)
	for {
		if n, err := in.Read(one); n == 0 || err != nil {
			return
		}
		select {
		case keys <- one[0]:
		default:
		}
	}
}

// isQuit: q, or Ctrl-C, which a raw terminal hands over as a key.
func isQuit(key byte) bool { return key == 'q' || key == 'Q' || key == 3 }
