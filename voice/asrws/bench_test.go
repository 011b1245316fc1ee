package asrws_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/33god/bloodbank/voice/recognisertest"
	"github.com/coder/websocket"
)

// Browsers of the old kind send 375 frames of 86 bytes a second. The figure is for client
// and server together.
func BenchmarkTinyFrames(b *testing.B) {
	r := recognisertest.NewScripted(recognisertest.Script{})
	o := setup{Recogniser: r, Emitter: newLedger()}
	desk, door := o.open(b)
	s := httptest.NewServer(door)
	conn, _, err := websocket.Dial(b.Context(), strings.Replace(s.URL, "http", "ws", 1), nil)
	if err != nil {
		b.Fatal(err)
	}
	frame := make([]byte, 86)
	b.ReportAllocs()
	for b.Loop() {
		if err := conn.Write(b.Context(), websocket.MessageBinary, frame); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	conn.CloseNow()
	if err := desk.Close(context.WithoutCancel(b.Context())); err != nil {
		b.Error(err)
	}
	door.Wait()
	s.Close()
	r.Close()
}
