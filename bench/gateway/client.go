package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

// speaker is one client, which sends silence as fast as it is spoken.
type speaker struct {
	words  *words
	warm   time.Time       // what came before is not measured
	delays []time.Duration // from upstream's message to ours
	seen   int             // the newest word, of all

	connection int // of upstream
}

func (s *speaker) run(ctx context.Context, url string, spoken time.Duration) error {
	conn, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 20)
	sent := make(chan error, 1)
	go func() { sent <- speak(ctx, conn, spoken) }()
	for {
		_, message, err := conn.Read(ctx)
		if err != nil {
			return errors.Join(fmt.Errorf("read a state: %w", err), <-sent)
		}
		if bytes.Equal(message, []byte(`{"type":"ready_to_stop"}`)) {
			return <-sent
		}
		s.measure(message, time.Now())
	}
}

func speak(ctx context.Context, conn *websocket.Conn, spoken time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	frame := make([]byte, 2*16_000*every/time.Second)
	for range spoken / every {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := conn.Write(ctx, websocket.MessageBinary, frame); err != nil {
			return err
		}
	}
	return conn.Write(ctx, websocket.MessageBinary, nil)
}

// measure finds the newest word of a state, the last one in it.
func (s *speaker) measure(state []byte, now time.Time) {
	at := bytes.LastIndex(state, []byte(" c"))
	if at < 0 {
		return
	}
	connection, rest, _ := bytes.Cut(state[at+2:], []byte("w"))
	number, _, found := bytes.Cut(rest, []byte("."))
	c, err := strconv.Atoi(string(connection))
	n, err2 := strconv.Atoi(string(number))
	if !found || err != nil || err2 != nil || n < s.seen {
		return
	}
	s.connection, s.seen = c, n+1
	if told := s.words.told[c][n].Load(); told > s.warm.UnixNano() {
		s.delays = append(s.delays, time.Duration(now.UnixNano()-told))
	}
}
