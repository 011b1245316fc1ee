package audio

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	beltSize = 256 << 10 // bytes between us and ffmpeg, each way: 8 s of samples
	readSize = 16 << 10
)

// conversion is one ffmpeg at work. Its goroutines: supervise, which owns the process;
// write and read, which move bytes and end with it. buried is closed when all are gone.
type conversion struct {
	format  Format
	stall   time.Duration
	in, out *belt
	file    *os.File // the input, if it is no stream
	buried  chan struct{}
	unhook  func() bool // from the context
	odd     *sampleReader
	memory  []byte
	sounded bool // a sample came

	mu      sync.Mutex
	process *os.Process
	pipes   []io.Closer
	cause   error        // why we killed it
	dead    bool         // waited for: its id may be another's
	busy    atomic.Int64 // bytes that ffmpeg took or gave, as a sign of life

	err error // how it ended; set before out ends
}

func newConversion(f Format, stall time.Duration) *conversion {
	return &conversion{
		format: f, stall: stall, in: newBelt(beltSize), out: newBelt(beltSize), buried: make(chan struct{}),
		unhook: func() bool { return true }, odd: newSampleReader(RawFormat{}.WithDefaults(), 0),
	}
}

// supervise starts the process, says so, waits for its end and gives its place back.
func (c *conversion) supervise(path string, started chan<- error, release func()) {
	defer close(c.buried)
	defer release()
	// Linux kills the process with the thread that started it, so the thread must stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(path, arguments(c.format, c.file != nil)...)
	tie(cmd)
	complaints := &lastWords{}
	cmd.Stderr = complaints
	cmd.WaitDelay = time.Second
	stdin, stdout, err := c.connect(cmd)
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		stdin.Close()
		started <- err
		return
	}
	c.process, c.pipes = cmd.Process, []io.Closer{stdin, stdout}
	started <- nil
	var hands sync.WaitGroup
	hands.Go(func() { c.write(stdin) })
	c.read(stdout)
	c.in.end()
	err = cmd.Wait()
	c.mu.Lock()
	c.dead = true
	c.mu.Unlock()
	hands.Wait()
	c.err = c.verdict(err, complaints.line())
	c.out.end()
}

// connect makes the pipes to the process. To one that reads a file nothing is written.
func (c *conversion) connect(cmd *exec.Cmd) (stdin io.WriteCloser, stdout io.ReadCloser, err error) {
	if c.file != nil {
		cmd.Stdin, stdin = c.file, nowhere{}
		c.in.end()
	} else if stdin, err = cmd.StdinPipe(); err != nil {
		return nowhere{}, nil, err
	}
	stdout, err = cmd.StdoutPipe()
	return stdin, stdout, err
}

// nowhere stands for the input of a process that has a file for that.
type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) Close() error                { return nil }

// write moves bytes to ffmpeg until there are no more, or it is gone.
func (c *conversion) write(stdin io.WriteCloser) {
	defer stdin.Close()
	var memory []byte
	for {
		p, ended := c.in.take(memory)
		if len(p) == 0 {
			if ended {
				return
			}
			memory = p
			<-c.in.filled
			continue
		}
		n, err := stdin.Write(p)
		c.busy.Add(int64(n))
		if err != nil {
			c.in.end()
			return
		}
		memory = p
	}
}

// read moves samples from ffmpeg until it closes its output. While nobody takes them
// ffmpeg waits, as it should.
func (c *conversion) read(stdout io.Reader) {
	buffer := make([]byte, readSize)
	for {
		n, err := stdout.Read(buffer)
		c.busy.Add(int64(n))
		for p := buffer[:n]; ; {
			if p = p[c.out.put(p):]; len(p) == 0 {
				break
			}
			<-c.out.freed
		}
		if err != nil {
			return
		}
	}
}

// verdict turns the end of the process into an error for the client.
func (c *conversion) verdict(err error, said string) error {
	c.mu.Lock()
	cause := c.cause
	c.mu.Unlock()
	var exit *exec.ExitError
	switch {
	case cause != nil:
		return cause
	case err == nil:
		return nil
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		if said == "" {
			said = fmt.Sprintf("exit code %d", exit.ExitCode())
		}
		reason := "cannot be decoded by ffmpeg (" + said + ")"
		if c.format == FormatMP4 && c.file == nil {
			reason += "; as a stream it needs its index in front of its sound"
		}
		return formatError(c.format, reason)
	}
	return fmt.Errorf("%w: %w", ErrTranscoder, err)
}

// kill ends the process and all it started, for a cause that becomes its verdict.
func (c *conversion) kill(cause error) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause = cause
	}
	if !c.dead {
		slay(c.process)
	}
	pipes := c.pipes
	c.mu.Unlock()
	// Something it started may hold the other ends.
	for _, p := range pipes {
		p.Close()
	}
	c.in.end()
	c.out.end() // read may wait for room
}

func (c *conversion) close() {
	c.unhook()
	c.kill(ErrEnded)
	<-c.buried
}

func (c *conversion) settled() bool { return true }

// decode gives p to ffmpeg and appends what it has ready. It waits for room as long as
// ffmpeg shows signs of life.
func (c *conversion) decode(dst []int16, p []byte) ([]int16, error) {
	p = p[c.in.put(p):]
	for {
		var over bool
		if dst, over = c.pick(dst); over {
			return c.finish(dst)
		}
		if len(p) == 0 {
			return dst, nil
		}
		if p = p[c.in.put(p):]; len(p) > 0 {
			c.await(c.in.freed)
		}
	}
}

// pick appends the samples that are ready. over: ffmpeg has ended.
func (c *conversion) pick(dst []int16) ([]int16, bool) {
	raw, over := c.out.take(c.memory)
	c.memory = raw
	c.sounded = c.sounded || len(raw) > 1
	return c.odd.read(dst, raw), over
}

// await waits for room or for samples. An ffmpeg that does nothing for too long is killed.
func (c *conversion) await(room <-chan struct{}) {
	for before := c.busy.Load(); ; before = c.busy.Load() {
		limit := time.NewTimer(c.stall)
		select {
		case <-c.out.filled:
		case <-room:
		case <-limit.C:
			if c.busy.Load() != before {
				continue
			}
			c.kill(fmt.Errorf("%w: it did nothing for %s and was killed", ErrTranscoder, c.stall))
			<-c.buried
		}
		limit.Stop()
		return
	}
}

// finish is the end of the process: with its verdict, or in peace when the sound was over
// before the bytes were.
func (c *conversion) finish(dst []int16) ([]int16, error) {
	<-c.buried
	c.unhook()
	if c.err == nil && !c.sounded {
		return dst, formatError(c.format, "holds no sound")
	}
	return dst, c.err
}

// flush ends ffmpeg's input and waits for the last of its output.
func (c *conversion) flush(dst []int16) ([]int16, error) {
	c.in.end()
	for {
		var over bool
		if dst, over = c.pick(dst); over {
			return c.finish(dst)
		}
		c.await(nil)
	}
}

// drain gives all that ffmpeg makes of a file to sink.
func (c *conversion) drain(pcm []int16, sink func([]int16) error) error {
	for {
		var over bool
		if pcm, over = c.pick(pcm[:0]); over {
			_, err := c.finish(nil)
			return errors.Join(sink(pcm), err)
		}
		if err := sink(pcm); err != nil {
			return err
		}
		c.await(nil)
	}
}

// lastWords keeps the end of what ffmpeg says on its standard error.
type lastWords struct{ tail []byte }

// Write is called by one goroutine of exec's, which Wait waits for.
func (l *lastWords) Write(p []byte) (int, error) {
	const most = 1024
	l.tail = append(l.tail, p[max(0, len(p)-most):]...)
	l.tail = l.tail[max(0, len(l.tail)-most):]
	return len(p), nil
}

// line is the last one that is not empty, in so far as it can be shown.
func (l *lastWords) line() string {
	lines := bytes.Split(bytes.TrimSpace(l.tail), []byte("\n"))
	s := strings.ToValidUTF8(string(bytes.TrimSpace(lines[len(lines)-1])), "?")
	s = strings.TrimPrefix(strings.TrimPrefix(s, "pipe:0: "), "file:/dev/stdin: ")
	return s[max(0, len(s)-200):]
}
