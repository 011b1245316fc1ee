package asrws

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"
)

// What is taken is what was added, in order, with each command behind its audio, however
// the two goroutines meet; and what waits is bounded.
func TestIntake(t *testing.T) {
	t.Parallel()
	q := newIntake()
	r := rand.New(rand.NewPCG(3, 3))
	var want []byte
	wrote := make(chan error, 1)
	go func() {
		frame := make([]byte, 20_000)
		for i := range 2000 {
			n := r.IntN(1 << (i % 15))
			for j := range n {
				frame[j] = byte(r.Uint32())
			}
			then := commandNone
			if i%50 == 0 {
				then = commandFinalize
			}
			want = append(want, frame[:n]...)
			if then == commandFinalize {
				want = append(want, "<finalize>"...)
			}
			if err := q.add(t.Context(), frame[:n], then); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- q.add(t.Context(), nil, commandEnd)
	}()
	var got []byte
	for ended := false; !ended; {
		<-q.ready
		for {
			audio, then, ok := q.take()
			if !ok {
				break
			}
			if len(audio) > maxWaiting {
				t.Fatalf("%d bytes waited", len(audio))
			}
			got = append(got, audio...)
			if then == commandFinalize {
				got = append(got, "<finalize>"...)
			}
			ended = ended || then == commandEnd
		}
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes came out, and not the %d that went in", len(got), len(want))
	}
	// Behind the end all is dropped at once, and nobody waits.
	for range 10_000 {
		if err := q.add(t.Context(), make([]byte, 1000), commandEnd); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, ok := q.take(); ok {
		t.Error("something came behind the end")
	}
}

// Who waits for room goes when the time is over, or when nobody takes any more.
func TestIntakeIsFull(t *testing.T) {
	t.Parallel()
	q := newIntake()
	piece := make([]byte, maxWaiting)
	if err := q.add(t.Context(), piece, commandNone); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.add(ctx, piece, commandNone); !errors.Is(err, context.Canceled) {
		t.Errorf("add to what is full: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- q.add(t.Context(), piece, commandNone) }()
	q.close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
