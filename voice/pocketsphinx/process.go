package pocketsphinx

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/33god/bloodbank/voice"
)

// errDied marks the failure of a request whose worker ended before it answered.
var errDied = errors.New("the recogniser's worker process died; it is started again for the next utterance")

// process is a worker as its parent sees it. Its reader goroutine ends, and the process
// is waited for, before dead is closed.
type process struct {
	cmd    *exec.Cmd
	stderr tail
	dead   chan struct{}
	err    error // why; set before dead is closed

	writing sync.Mutex // held while a frame is written; never while p.mu is
	stdin   *os.File

	mu      sync.Mutex
	next    uint32
	waiting map[uint32]pending // nil when no answer will ever come
}

// pending is a request without an answer.
type pending struct {
	reply   chan frame
	watch   *time.Timer // kills a worker that hangs
	release func()      // gives the decoder back; also runs when the caller no longer waits
}

// startProcess starts a worker and waits until it is ready or dead, or all is over. It takes no context:
// others may wait for the same worker, so one caller's end must not stop it.
func startProcess(c Config, over <-chan struct{}) (*process, error) {
	cmd := exec.Command(c.Command[0], c.Command[1:]...)
	cmd.Env = append(os.Environ(), c.Env...)
	detach(cmd)
	p := &process{cmd: cmd, dead: make(chan struct{}), waiting: map[uint32]pending{}}
	cmd.Stderr = &p.stderr
	cmd.WaitDelay = 2 * time.Second
	in, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdin = in
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	in.Close()
	if err != nil {
		stdin.Close()
		return nil, fmt.Errorf("%w: start the worker process: %w", voice.ErrUnavailable, err)
	}
	p.stdin = stdin
	go p.read(bufio.NewReaderSize(out, 1<<16))
	return p, p.load(c, over)
}

func (p *process) load(c Config, over <-chan struct{}) error {
	body, err := json.Marshal(workerConfig{Library: c.Library, ModelDir: c.ModelDir})
	if err != nil {
		return err
	}
	f, err := p.call(over, kindLoad, body, c.StartTimeout, func() {})
	if err == nil && f.kind != kindReady {
		err = fmt.Errorf("%w: %s", voice.ErrUnavailable, f.body)
	} else if err != nil {
		err = fmt.Errorf("%w: the worker process ended while it loaded the model: %w", voice.ErrUnavailable, err)
	}
	if err != nil {
		p.kill()
	}
	return err
}

// call sends a request and waits for its answer, the death of the worker, or done.
// release runs once, when the worker is through with the request: after done that is
// later than the return. A worker that needs longer than limit is killed.
func (p *process) call(done <-chan struct{}, k kind, body []byte, limit time.Duration, release func()) (frame, error) {
	reply := make(chan frame, 1)
	watch := time.AfterFunc(limit, func() { _ = p.cmd.Process.Kill() })
	if err := p.send(k, body, &pending{reply: reply, watch: watch, release: release}); err != nil {
		watch.Stop()
		release()
		return frame{}, err
	}
	select {
	case f := <-reply:
		if f.kind == kindFailure {
			return f, errors.New(string(f.body))
		}
		return f, nil
	case <-p.dead:
		select {
		case f := <-reply: // its last words
			return f, nil
		default:
			return frame{}, p.err
		}
	case <-done:
		return frame{}, errGivenUp
	}
}

// errGivenUp: the caller's time was over. The caller knows the true cause.
var errGivenUp = errors.New("given up")

// send writes a frame; with a request it is registered for the answer.
func (p *process) send(k kind, body []byte, request *pending) error {
	p.mu.Lock()
	if p.waiting == nil {
		p.mu.Unlock()
		<-p.dead
		return p.err
	}
	p.next++
	id := p.next
	if request != nil {
		p.waiting[id] = *request
	}
	p.mu.Unlock()
	p.writing.Lock()
	defer p.writing.Unlock()
	if err := (frame{kind: k, id: id, body: body}).writeTo(p.stdin); err != nil {
		// The reader will find the process dead and answer for it.
		_ = p.cmd.Process.Kill()
	}
	return nil
}

// read takes answers until the worker ends, then buries it.
func (p *process) read(r *bufio.Reader) {
	var err error
	for err == nil {
		var f frame
		if f, err = readFrame(r); err == nil {
			p.deliver(f)
		}
	}
	// After a damaged frame the two sides have lost step.
	_ = p.cmd.Process.Kill()
	state := p.cmd.Wait()
	p.err = fmt.Errorf("%w (%v)%s", errDied, state, p.stderr.complaint())
	if state == nil {
		p.err = fmt.Errorf("%w%s", errDied, p.stderr.complaint())
	}
	p.mu.Lock()
	left := p.waiting
	p.waiting = nil
	p.mu.Unlock()
	p.stdin.Close()
	for _, request := range left {
		request.watch.Stop()
		request.release()
	}
	close(p.dead)
}

func (p *process) deliver(f frame) {
	p.mu.Lock()
	request, found := p.waiting[f.id]
	delete(p.waiting, f.id)
	p.mu.Unlock()
	if found {
		request.watch.Stop()
		request.reply <- f
		request.release()
	}
}

func (p *process) alive() bool {
	select {
	case <-p.dead:
		return false
	default:
		return true
	}
}

// kill ends the worker and waits for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.dead
}
