package streamws

import (
	"context"
	"log/slog"
	"net/http"
	"sync"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/wsdoor"
	"github.com/coder/websocket"
)

// Options configure a [Door]. Desk is required.
type Options struct {
	Desk   *voice.Desk
	Guard  wsdoor.Guard
	Limits wsdoor.Limits
	Logger *slog.Logger // nil logs nothing
}

// Door serves the WebSocket. It is an [http.Handler] for the path /api/v1/voice.
type Door struct {
	o       Options
	clients sync.WaitGroup
}

// New makes a door. Its clients are let go when the desk closes; call [Door.Wait] then.
func New(o Options) *Door {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Door{o: o}
}

// Wait waits for the clients to be gone.
func (d *Door) Wait() { d.clients.Wait() }

// ServeHTTP serves one client until it is gone or its session is over.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := d.o.Guard.CheckSocket(r); err != nil {
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
	// The guard has checked the origin, by a wider rule than the library's.
	wire := new(wsdoor.Wire)
	ws, err := websocket.Accept(wire.Under(w), r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: wsdoor.Subprotocols()})
	if err != nil {
		return // answered by Accept
	}
	// The session outlives the request: its client may come back.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	c := &connection{
		door: d, conn: wsdoor.NewConn(ctx, ws, wire, d.o.Limits), params: p,
		log:  d.o.Logger.With("session_id", p.id.String()),
		told: make(chan struct{}), behind: make(chan struct{}),
	}
	defer c.conn.Wait()
	defer c.conn.Drop()
	if invalid != nil {
		c.turnAway(ctx, invalid)
		return
	}
	c.serve(ctx, ticket)
}
