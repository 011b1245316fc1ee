//go:build unix

package testenv

import (
	"testing"

	"github.com/33god/bloodbank/internal/faultproxy"
)

// Way is a direction through a [Proxy].
type Way = faultproxy.Way

// The two ways.
const (
	ToServer = faultproxy.ToServer
	ToClient = faultproxy.ToClient
)

// Proxy breaks the way to a server.
type Proxy = faultproxy.Proxy

// NewProxy starts a proxy to target (host:port) that ends with the test.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	p, err := faultproxy.New(target)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return p
}
