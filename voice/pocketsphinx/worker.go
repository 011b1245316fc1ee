package pocketsphinx

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// workerConfig is the body of the first frame.
type workerConfig struct {
	Library  string `json:"library"`
	ModelDir string `json:"model_dir"`
}

// RunWorker is the whole life of a worker process. It reads frames from in until that
// ends, and answers on out, which nobody else may write to. A recogniser that dies closes
// in, so a worker never outlives it for long. The error is for the process's exit code:
// what the recogniser must know was sent to it before.
func RunWorker(ctx context.Context, in io.Reader, out io.Writer) error {
	r := bufio.NewReaderSize(in, 1<<16)
	first, err := readFrame(r)
	if err != nil {
		return fmt.Errorf("worker started without a recogniser: %w", err)
	}
	w := &worker{out: out, finals: make(chan frame, 4), interims: make(chan frame, 16)}
	final, err := w.load(first)
	if err != nil {
		return errors.Join(err, w.answer(first, kindFatal, []byte(err.Error())))
	}
	var hands sync.WaitGroup
	hands.Go(func() { w.makeFinals(final) })
	hands.Go(w.makeInterims)
	err = w.answer(first, kindReady, nil)
	for err == nil {
		err = w.dispatch(ctx, r)
	}
	close(w.finals)
	close(w.interims)
	hands.Wait()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

type worker struct {
	lib      *library
	model    model
	finals   chan frame
	interims chan frame

	mu  sync.Mutex
	out io.Writer
}

func (w *worker) load(f frame) (*decoder, error) {
	var c workerConfig
	if f.kind != kindLoad {
		return nil, fmt.Errorf("the worker's first frame is of kind %q", f.kind)
	}
	if err := json.Unmarshal(f.body, &c); err != nil {
		return nil, fmt.Errorf("the worker's configuration: %w", err)
	}
	if c.ModelDir == "" {
		return nil, errors.New("the worker's configuration names no model")
	}
	l, err := openLibrary(c.Library)
	if err != nil {
		return nil, err
	}
	w.lib, w.model = l, modelIn(c.ModelDir)
	return openExact(l, w.model)
}

func (w *worker) dispatch(ctx context.Context, r io.Reader) error {
	f, err := readFrame(r)
	if err != nil {
		return err
	}
	queue := w.interims
	switch f.kind {
	case kindTranscribe:
		queue = w.finals
	case kindBegin, kindFeed, kindEnd:
	default:
		return fmt.Errorf("a frame of unknown kind %q", f.kind)
	}
	select {
	case queue <- f:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *worker) answer(to frame, k kind, body []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return frame{kind: k, id: to.id, body: body}.writeTo(w.out)
}

// reply sends an outcome. That the recogniser is gone shows at the next read.
func (w *worker) reply(to frame, k kind, body []byte, err error) {
	if err != nil {
		k, body = kindFailure, []byte(err.Error())
	}
	_ = w.answer(to, k, body)
}

func (w *worker) makeFinals(d *decoder) {
	defer d.close()
	for f := range w.finals {
		h, err := d.transcribe(samples(f.body))
		body, encodeErr := json.Marshal(h)
		w.reply(f, kindHypothesis, body, errors.Join(err, encodeErr))
	}
}

// makeInterims loads its decoder while the first final may already be at work.
func (w *worker) makeInterims() {
	d, broken := openDecoder(w.lib, w.model, interimSettings()...)
	if broken == nil {
		defer d.close()
		defer d.finish()
	}
	for f := range w.interims {
		switch {
		case broken != nil:
			if f.kind == kindFeed {
				w.reply(f, kindFailure, nil, broken)
			}
		case f.kind == kindBegin:
			// A failure to begin shows at the next feed.
			_ = d.begin()
		case f.kind == kindFeed:
			text, err := d.feed(samples(f.body))
			w.reply(f, kindPartial, []byte(text), err)
		case f.kind == kindEnd:
			d.finish()
		}
	}
}

func samples(b []byte) []int16 {
	pcm := make([]int16, len(b)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return pcm
}
