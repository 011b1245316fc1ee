package client_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/coder/websocket"
)

// fakeASR plays a server: each connection runs serve, which sends messages and receives
// frames, and is then broken off.
func fakeASR(t *testing.T, serve func(send func(string), received func() int)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.CloseNow()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), voiceLimit)
		defer cancel()
		serve(func(message string) {
			_ = conn.Write(ctx, websocket.MessageText, []byte(message)) // the client may be gone
		}, func() int {
			_, b, err := conn.Read(ctx)
			if err != nil {
				t.Error(err)
				return 1 << 20
			}
			return len(b)
		})
	}
}
