package client

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/coder/websocket"

	"github.com/33god/bloodbank"
)

// receive reads messages until the connection ends; the error says why.
func (s *voiceSession) receive(ctx context.Context, conn *websocket.Conn, u VoiceUpdate, heard chan<- struct{}) (err error) {
	all := false
	for {
		signal(heard)
		u.SessionID = s.id
		if u.Type == "" || u.Type == "config" {
			all = s.acknowledged(u.ReceivedBytes, u.FinishedMS)
		}
		u.New = s.lines.new(u.Lines)
		s.call(func() {
			if s.r.OnUpdate != nil {
				s.r.OnUpdate(u)
			}
		})
		switch {
		case u.Type == "error", u.Status == "error":
			return errFinal{bloodbank.Errorf(bloodbank.CodeUnavailable, "the server cannot transcribe this: %s", u.Error)}
		case u.Type == "ready_to_stop":
			return s.over(all)
		case u.Type == "":
			s.last = u
		}
		signal(heard)
		if u, err = readUpdate(ctx, conn); err != nil {
			return err
		}
	}
}

// over decides what it means that the server is done. It may be going down, with audio
// on the way to it; then another connection finds out what it has.
func (s *voiceSession) over(all bool) error {
	if all || (s.token == "" || s.r.NoResume) && s.allSent() {
		return errDone
	}
	s.stopped = true
	err := bloodbank.Errorf(bloodbank.CodeUnavailable, "the server ended session %s before it had all of the audio", s.id)
	if s.refused++; s.refused >= maxRefused {
		return errFinal{s.stranded(err)}
	}
	return err
}

// watch finds servers that vanished without a word.
func (s *voiceSession) watch(ctx context.Context, conn *websocket.Conn, heard <-chan struct{}) {
	quiet := time.NewTimer(quietLimit)
	defer quiet.Stop()
	for {
		select {
		case <-heard:
			quiet.Reset(quietLimit)
			continue
		case <-quiet.C:
		case <-ctx.Done():
			return
		}
		if !s.calling.TryLock() { // a function of the request runs, so nothing is read
			quiet.Reset(quietLimit)
			continue
		}
		s.calling.Unlock()
		limit, cancel := context.WithTimeout(ctx, quietLimit)
		err := conn.Ping(limit)
		cancel()
		if err != nil {
			_ = conn.CloseNow()
			return
		}
		quiet.Reset(quietLimit)
	}
}

func readUpdate(ctx context.Context, conn *websocket.Conn) (u VoiceUpdate, err error) {
	_, data, err := conn.Read(ctx)
	if err != nil {
		return u, voiceEnd(err)
	}
	if err := json.Unmarshal(data, &u); err != nil {
		return u, errFinal{bloodbank.Errorf(bloodbank.CodeInternal, "the server sent a message that cannot be read: %w", err)}
	}
	return u, nil
}

func voiceEnd(err error) error {
	var closed websocket.CloseError
	if errors.As(err, &closed) {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "the server ended the session: %s (%d)", closed.Reason, closed.Code)
	}
	return bloodbank.Errorf(bloodbank.CodeUnavailable, "the session broke off: %w", err)
}

// seenLines knows the last lines again.
type seenLines struct {
	keys  map[string]bool
	order []string
}

// new returns the lines that were not there before.
func (s *seenLines) new(lines []VoiceLine) (news []VoiceLine) {
	if s.keys == nil {
		s.keys = map[string]bool{}
	}
	for _, line := range lines {
		key := line.key()
		if s.keys[key] {
			continue
		}
		s.keys[key] = true
		s.order = append(s.order, key)
		if len(s.order) > maxLines {
			delete(s.keys, s.order[0])
			s.order = s.order[1:]
		}
		news = append(news, line)
	}
	return news
}
