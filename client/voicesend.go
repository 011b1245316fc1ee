package client

import (
	"bytes"
	"context"
	"time"

	"github.com/coder/websocket"
)

// voiceChunk is how much audio goes into one frame.
const voiceChunk = 100 * time.Millisecond

// voiceStream is what the server's stream is made of: the recording from a position on,
// and before it what makes a recording of that.
type voiceStream struct {
	header []byte
	pad    int64 // bytes of silence
	from   int64
}

// position is the recording's for an index of the stream.
func (s voiceStream) position(i int64) int64 {
	return s.from + max(0, i-int64(len(s.header))-s.pad)
}

// index is the stream's for a position of the recording.
func (s voiceStream) index(position int64) int64 {
	return int64(len(s.header)) + s.pad + position - s.from
}

// lead is what stands before the recording at index i, at most n bytes; nil if nothing.
func (s voiceStream) lead(i int64, n int, silence byte) []byte {
	if i < int64(len(s.header)) {
		return s.header[i:min(i+int64(n), int64(len(s.header)))]
	}
	if left := int64(len(s.header)) + s.pad - i; left > 0 {
		return bytes.Repeat([]byte{silence}, int(min(int64(n), left)))
	}
	return nil
}

// send sends the stream from index i on and the empty frame that ends it. It returns
// when the connection breaks too: the reading side says why.
func (s *voiceSession) send(ctx context.Context, conn *websocket.Conn, i int64) {
	chunk := make([]byte, max(1, int64(s.format.rate)*int64(voiceChunk)/int64(time.Second)/s.format.align)*s.format.align)
	for {
		p, more := s.stream.lead(i, len(chunk), s.format.silence), true
		if p == nil {
			at := s.stream.position(i)
			n, on, err := s.tape.read(ctx, at, chunk)
			if err != nil {
				return
			}
			p, more = chunk[:n], on
			if s.r.RealTime && !s.pace(ctx, at+int64(n)) {
				return
			}
		}
		if len(p) > 0 {
			if conn.Write(ctx, websocket.MessageBinary, p) != nil {
				return
			}
			i += int64(len(p))
			s.sentTo(i)
		}
		if !more {
			_ = conn.Write(ctx, websocket.MessageBinary, nil)
			return
		}
	}
}

// pace waits until what is before a position was spoken. After a break the rest follows
// at once, as from a microphone.
func (s *voiceSession) pace(ctx context.Context, position int64) bool {
	return pause(ctx, time.Until(s.began.Add(s.format.time(position))))
}

func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
