package pocketsphinx

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"unsafe"
)

// A channel (the microphone, the room) shows as a constant in the cepstra, and its
// estimate decides more about wrong words than anything else. The library takes it from
// what it has heard before, or from a whole utterance with the silence cut out, which
// makes the times of words wrong. So it is taken here: the mean over the louder frames.

// features is what the model has for a frame.
const features = 13

// quietest is the part of the range from soft to loud whose frames say nothing about the
// channel of the voice. With them in the mean, nearly twice as many words of real clips
// are wrong.
const quietest = 0.15

// meanSetting is the line of a model's feat.params that makes the library take the mean.
var meanSetting = regexp.MustCompile(`(?m)^-cmn\s.*$`)

// openExact opens a decoder for finals: it takes frames whose mean was taken out.
func openExact(l *library, m model) (*decoder, error) {
	params, err := os.ReadFile(filepath.Join(m.acoustic, "feat.params"))
	if err != nil {
		return nil, fmt.Errorf("read the model's parameters: %w", err)
	}
	// What the command line says of the mean, the model's own file overrules.
	f, err := os.CreateTemp("", "bb-feat-*.params")
	if err != nil {
		return nil, fmt.Errorf("write the model's parameters: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(meanSetting.ReplaceAll(params, nil), "\n-cmn none\n"...))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("write the model's parameters: %w", err)
	}
	d, err := openDecoder(l, m, "-featparams", f.Name(), "-remove_silence", "no")
	if err != nil {
		return nil, err
	}
	if d.front = l.frontEnd(d.handle); d.front == 0 || l.width(d.front) != features {
		d.close()
		return nil, errors.New("the PocketSphinx model has other features than this version knows; run: " + Install)
	}
	return d, nil
}

type frameFeatures [features]float32

// cepstra are the features of pcm, whatever was heard before.
func (d *decoder) cepstra(pcm []int16) ([]frameFeatures, error) {
	room := int32(len(pcm)/160 + 4)
	rows := make([]frameFeatures, room)
	to := pointers(rows)
	from, left := &pcm[0], uintptr(len(pcm))
	var at, last int32
	d.lib.startStream(d.front)
	if d.lib.startFrames(d.front) < 0 || d.lib.frames(d.front, &from, &left, &to[0], &room, &at) < 0 || int(room) >= len(rows) {
		return nil, errors.New("PocketSphinx makes no features of this utterance")
	}
	if d.lib.endFrames(d.front, &rows[room][0], &last) < 0 {
		return nil, errors.New("PocketSphinx does not end the features of this utterance")
	}
	runtime.KeepAlive(rows)
	return rows[:room+min(last, 1)], nil
}

// search has the decoder hear an utterance as features.
func (d *decoder) search(rows []frameFeatures) error {
	if d.lib.start(d.handle) < 0 {
		return errors.New("PocketSphinx does not begin an utterance")
	}
	from := pointers(rows)
	heard := d.lib.cepstra(d.handle, &from[0], int32(len(rows)), 0, 1)
	runtime.KeepAlive(rows)
	if d.lib.end(d.handle) < 0 || heard < 0 {
		return errors.New("PocketSphinx fails at this utterance")
	}
	return nil
}

// pointers is rows as the library wants them; rows must be kept alive.
func pointers(rows []frameFeatures) []uintptr {
	p := make([]uintptr, len(rows))
	for i := range rows {
		p[i] = uintptr(unsafe.Pointer(&rows[i][0]))
	}
	return p
}

// centre takes the channel out: the mean of the frames that are not among the quietest.
func centre(rows []frameFeatures) {
	loudness := make([]float32, len(rows))
	for i := range rows {
		loudness[i] = rows[i][0]
	}
	slices.Sort(loudness)
	edge := len(loudness) / 50 // a click does not make the range
	low, high := loudness[edge], loudness[len(loudness)-1-edge]
	least := low + quietest*(high-low)
	var sum [features]float64
	n := 0
	for i := range rows {
		if rows[i][0] < least {
			continue
		}
		n++
		for k, v := range rows[i] {
			sum[k] += float64(v)
		}
	}
	for i := range rows {
		for k := range sum {
			rows[i][k] -= float32(sum[k] / float64(n))
		}
	}
}
