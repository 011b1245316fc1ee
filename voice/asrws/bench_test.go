package asrws_test

import (
	"io"
	"testing"

	"github.com/33god/bloodbank/voice/recognisertest"
)

// Browsers of the old kind send 375 frames of 86 bytes a second: one op is such a second.
// The frames are made once and sent in bulk, so what is allocated is the server's.
func BenchmarkTinyFrames(b *testing.B) {
	const frames, size = 375, 86
	s, _, l := serve(b, setup{Recogniser: scripted(recognisertest.Script{})})
	conn, reader := raw(b, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, reader) // ends with the connection, in whatever way
	}()
	var second []byte
	for range frames {
		second = append(second, frame(2, size, make([]byte, size))...)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if _, err := conn.Write(second); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*frames), "ns/frame")
	if _, err := conn.Write(append(frame(2, 0, nil), frame(8, 2, []byte{3, 232})...)); err != nil {
		b.Fatal(err)
	}
	<-done
	end := <-l.closed // all was taken
	if got := object(b, end.Payload)["audio_seconds"].(float64); got < float64(n)*size*frames/32_000-1 {
		b.Errorf("%g s of %d were heard", got, n)
	}
}
