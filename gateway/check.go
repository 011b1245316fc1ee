package gateway

import "github.com/33god/bloodbank"

// Check stamps and checks an event as [Gateway.Accept] would, and writes
// nothing.
func (g *Gateway) Check(r Request) (bloodbank.Envelope, error) {
	e := r.Envelope
	if err := g.stamp(&e, &r); err != nil {
		return e, err
	}
	r.Envelope = e
	_, err := g.prepareOne(&r)
	return e, err
}
