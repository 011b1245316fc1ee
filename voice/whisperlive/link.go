package whisperlive

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/coder/websocket"
)

const (
	// closeInvalid and closeToken are upstream's codes for bad parameters and tokens.
	closeInvalid websocket.StatusCode = 4400
	closeToken   websocket.StatusCode = 4401

	sendWithin  = 20 * time.Second // a server that takes nothing for so long is gone
	maxNonsense = 10               // messages in a row that are none
)

// wishes are what a client may ask of the server; "" leaves it to the server's own
// setting.
type wishes struct{ language, translate string }

func (w wishes) query(q url.Values) string {
	if w.language != "" {
		q.Set("language", w.language)
	}
	if w.translate != "" {
		q.Set("target_language", w.translate)
	}
	return q.Encode()
}

// link is one connection. Its reader owns messages; whoever sends does so alone.
type link struct {
	conn     *websocket.Conn
	format   Format
	asks     bool // the server heeds ?language
	modern   bool // its states are those of 0.2.10 and newer
	messages chan message
	cancel   context.CancelFunc
	reading  sync.WaitGroup
	fault    error // why messages was closed; read it only then
	first    *message
}

// dial connects and finds out what the server is. life is the connection's, ctx the
// attempt's.
func (r *Recogniser) dial(ctx, life context.Context, w wishes) (*link, error) {
	attempt, cancel := context.WithTimeout(ctx, r.config.DialWithin)
	defer cancel()
	stop := context.AfterFunc(life, cancel)
	defer stop()
	u := *r.endpoint
	u.RawQuery = w.query(u.Query())
	o := websocket.DialOptions{HTTPClient: r.client, HTTPHeader: http.Header{}}
	if r.config.Token != "" {
		o.HTTPHeader.Set("Authorization", "Bearer "+r.config.Token)
	}
	conn, answer, err := websocket.Dial(attempt, u.String(), &o)
	if err != nil {
		return nil, r.refused(answer, err)
	}
	conn.SetReadLimit(r.config.MaxMessage)
	l := &link{conn: conn, messages: make(chan message), format: r.config.Format}
	reading, stopReading := context.WithCancel(life)
	l.cancel = stopReading
	l.reading.Go(func() { l.read(reading) })
	if err := l.greeted(attempt, r.config.HelloWithin, w.language); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// refused words the failure of a handshake, without the address: it may hold secrets.
func (r *Recogniser) refused(answer *http.Response, err error) error {
	where := r.endpoint.Host
	if answer == nil {
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("%w: no WhisperLiveKit server answers at %s; start it or correct voice.upstream: %w", voice.ErrUnavailable, where, err)
	}
	switch answer.StatusCode {
	case http.StatusForbidden, http.StatusUnauthorized:
		return fmt.Errorf("%w: the server at %s refuses our token (HTTP %d); set the token that it was started with", voice.ErrUnavailable, where, answer.StatusCode)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return fmt.Errorf("%w: the server at %s takes no more sessions now (HTTP %d)", voice.ErrBusy, where, answer.StatusCode)
	}
	return fmt.Errorf("%w: %s answers HTTP %d to a WebSocket; is it a WhisperLiveKit server, with the path /asr?", voice.ErrUnavailable, where, answer.StatusCode)
}

// greeted takes the first message: config from 0.2.10 on, session_info from the fork, and
// data or nothing from those before.
func (l *link) greeted(ctx context.Context, within time.Duration, language string) error {
	patience := time.NewTimer(within)
	defer patience.Stop()
	takes := FormatMatroska
	select {
	case m, ok := <-l.messages:
		if !ok {
			return fmt.Errorf("%w: the server hung up at once: %w", voice.ErrUnavailable, l.fault)
		}
		switch {
		case m.Type == kindError || m.Status == "error":
			return complaint(m.Error, language)
		case m.Type == kindConfig:
			l.asks, l.modern = m.Mode != "", true
			if m.Worklet != nil && *m.Worklet {
				takes = FormatPCM
			}
		case m.Type == kindSession:
			takes = FormatPCM
		case m.Type == kindData:
			l.first = &m
		}
	case <-patience.C:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", voice.ErrUnavailable, context.Cause(ctx))
	}
	if l.format == FormatAuto {
		l.format = takes
	}
	return nil
}

// complaint is what the server says of our parameters, of which the language is the only
// one that clients choose.
func complaint(text, language string) error {
	if language != "" {
		return fmt.Errorf("%w: the server says: %s", voice.ErrLanguage, excerpt(text))
	}
	return fmt.Errorf("%w: the server says: %s", voice.ErrUnavailable, excerpt(text))
}

func excerpt(text string) string {
	const most = 300
	if len(text) > most {
		text = text[:most] + "..."
	}
	return fmt.Sprintf("%q", text)
}

// read takes messages until the connection or ctx ends. One that is no message is passed
// over; upstream is given up when nothing else comes.
func (l *link) read(ctx context.Context) {
	defer close(l.messages)
	for nonsense := 0; ; {
		kind, b, err := l.conn.Read(ctx)
		if err != nil {
			l.fault = hungUp(err)
			return
		}
		m, err := decode(b)
		if kind != websocket.MessageText {
			err = errors.New("upstream sent bytes where only text is due")
		}
		if err != nil {
			if nonsense++; nonsense >= maxNonsense {
				l.fault = err
				return
			}
			continue
		}
		nonsense = 0
		select {
		case l.messages <- m:
		case <-ctx.Done():
			l.fault = context.Cause(ctx)
			return
		}
	}
}

func hungUp(err error) error {
	switch code := websocket.CloseStatus(err); code {
	case closeToken:
		return errors.New("upstream refuses our token")
	case closeInvalid:
		return errors.New("upstream refuses the parameters of the session")
	case -1:
		return fmt.Errorf("the connection to upstream broke: %w", err)
	default:
		return fmt.Errorf("upstream hung up with code %d", code)
	}
}

func (l *link) send(ctx context.Context, b []byte) error {
	limit, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()
	return l.conn.Write(limit, websocket.MessageBinary, b)
}

// sayEnd sends the empty frame that ends the audio. An error shows in what is read.
func (l *link) sayEnd(ctx context.Context) { _ = l.send(ctx, nil) }

// close lets the connection go and waits for its reader.
func (l *link) close() {
	l.cancel()
	_ = l.conn.CloseNow()
	l.reading.Wait()
}
