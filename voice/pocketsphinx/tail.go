package pocketsphinx

import (
	"bytes"
	"strings"
	"sync"
)

// tail keeps the end of what a worker says on standard error, where the C library
// writes a great deal and, at last, why it ends the process.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 8 << 10

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - tailSize; over > 0 {
		t.buf = t.buf[:copy(t.buf, t.buf[over:])]
	}
	return len(p), nil
}

// complaint is the last line that looks like an error, ready to follow a message.
func (t *tail) complaint() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := bytes.Split(t.buf, []byte("\n"))
	for i := len(lines) - 1; i >= 0; i-- {
		line := strings.TrimSpace(string(lines[i]))
		for _, sign := range []string{"FATAL", "ERROR", "panic:", "fatal error:"} {
			if strings.Contains(line, sign) {
				return ": " + strings.ToValidUTF8(line[:min(len(line), 300)], "?")
			}
		}
	}
	return ""
}
