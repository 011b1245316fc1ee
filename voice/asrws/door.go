package asrws

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/wsdoor"
	"github.com/coder/websocket"
)

// Options configure a [Door]. Desk is required.
type Options struct {
	Desk *voice.Desk
	// Origins are the origins of web pages that may connect besides those of the same
	// host, of localhost and of browser extensions, such as "https://example.org"; "*"
	// is all.
	Origins []string
	// Token, if not empty, must be given as ?token= or as Authorization: Bearer.
	Token string
	// MaxFrame is the largest frame in bytes; 0 is 16 MiB. A larger one ends
	// the connection.
	MaxFrame int64
	Logger   *slog.Logger // nil logs nothing
}

// Door serves the WebSocket. It is an [http.Handler] for the path /asr.
type Door struct {
	o       Options
	guard   wsdoor.Guard
	times   times
	clients sync.WaitGroup
}

// times are constants but for tests.
type times struct {
	sendEvery  time.Duration // between two states
	tellWithin time.Duration // what changed only in numbers
	sendWithin time.Duration // a client that does not read for so long is gone
	pingAfter  time.Duration // without a frame
	pingWithin time.Duration
	lingering  time.Duration // for the client to close after ready_to_stop
}

func usualTimes() times {
	return times{
		sendEvery: 100 * time.Millisecond, tellWithin: 1500 * time.Millisecond,
		sendWithin: 20 * time.Second, pingAfter: 20 * time.Second, pingWithin: 20 * time.Second,
		lingering: 10 * time.Second,
	}
}

// New makes a door. Its clients are let go when the desk closes; call [Door.Wait] then.
func New(o Options) *Door {
	if o.MaxFrame == 0 {
		o.MaxFrame = 16 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Door{o: o, guard: wsdoor.Guard{Origins: o.Origins, Token: o.Token}, times: usualTimes()}
}

// Wait waits for the clients to be gone.
func (d *Door) Wait() { d.clients.Wait() }

// ServeHTTP serves one client until its session is over, or until it is gone: then the
// session waits at the desk for it to come back.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := d.admit(r); err != nil {
		wsdoor.Refuse(w, err)
		return
	}
	p, invalid := parseParams(r.URL.Query(), d.o.Desk.Recogniser().Features())
	ticket, err := d.o.Desk.Admit(r.Context(), p.resumes())
	if err != nil {
		wsdoor.Refuse(w, err)
		return
	}
	defer ticket.Return()
	d.clients.Add(1)
	defer d.clients.Done()
	if invalid == nil {
		w.Header().Set("X-Session-Id", p.id.String())
	}
	// The origin was checked in admit, by a wider rule than the library's.
	wire := new(wsdoor.Wire)
	conn, err := websocket.Accept(wire.Under(w), r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: wsdoor.Subprotocols()})
	if err != nil {
		return // answered by Accept
	}
	defer conn.CloseNow()
	conn.SetReadLimit(d.o.MaxFrame)
	c := newConnection(d, ticket, conn, p)
	c.wire = wire
	if invalid != nil {
		c.refuse(r.Context(), invalid)
		return
	}
	// The session outlives the request: its client may come back.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	c.serve(ctx)
}

// admit checks what needs no session. A wrong token is 403 here, as upstream answers it;
// the other doors say 401.
func (d *Door) admit(r *http.Request) error {
	err := d.guard.CheckSocket(r)
	if bloodbank.CodeOf(err) == bloodbank.CodeUnauthorized {
		return bloodbank.Errorf(bloodbank.CodeForbidden, "%w", err)
	}
	return err
}
