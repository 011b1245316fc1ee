package torture

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/33god/bloodbank/internal/faultproxy"
)

// The targets, in the order of the plan.
const (
	targetBus         = "bus"
	targetStore       = "store"
	targetCorrelation = "correlation"
)

// way is what stands between the program and one of the user's servers.
type way struct {
	target  string
	address string // what the program is told
	proxies []*faultproxy.Proxy
}

// isRemote reports whether an address names a server that is not the program.
func isRemote(address string) bool {
	return strings.Contains(address, "://")
}

// openWay puts a proxy in front of every server that the address names. Where
// that cannot work, it says so in note and leaves the address as it is.
func openWay(target, address string) (w *way, note string, err error) {
	w = &way{target: target, address: address}
	if !isRemote(address) {
		return w, "", nil
	}
	if reason := sealed(address); reason != "" {
		return w, fmt.Sprintf("the way to the %s is not broken: %s", target, reason), nil
	}
	scheme, rest, _ := strings.Cut(address, "://")
	var parts []string
	for i, one := range strings.Split(rest, ",") {
		if i > 0 { // the servers of a cluster may repeat the scheme
			one = strings.TrimPrefix(one, scheme+"://")
		}
		part, err := w.detour(scheme, one)
		if err != nil {
			w.close()
			return nil, "", err
		}
		parts = append(parts, part)
	}
	w.address = strings.Join(parts, ",")
	return w, "", nil
}

// detour opens a proxy for one server and returns its URL by way of that.
func (w *way) detour(scheme, rest string) (string, error) {
	u, err := url.Parse(scheme + "://" + rest)
	if err != nil || u.Hostname() == "" {
		// The parser's own words hold parts of the password.
		return "", fmt.Errorf("%w: the address of the %s cannot be read; write scheme://user:password@host:port/", errOptions, w.target)
	}
	p, err := faultproxy.New(net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), defaultPort(u.Scheme))))
	if err != nil {
		return "", err
	}
	w.proxies = append(w.proxies, p)
	u.Host = p.Addr()
	return u.String(), nil
}

// sealed says why nothing may stand in the way: a client that checks the name of
// its server would refuse the proxy.
func sealed(address string) string {
	scheme, _, _ := strings.Cut(address, "://")
	if slices.Contains([]string{"amqps", "tls", "rediss"}, scheme) || strings.Contains(address, "sslmode=verify-full") {
		return "it is encrypted, and the name of the server is checked"
	}
	return ""
}

func defaultPort(scheme string) string {
	switch scheme {
	case "amqp":
		return "5672"
	case "redis":
		return "6379"
	case "nats":
		return "4222"
	default:
		return "5432"
	}
}

// breaks begins a fault. Heal ends it.
func (w *way) breaks(s step) {
	for _, p := range w.proxies {
		switch s.kind {
		case wayCut, wayDown:
			p.Cut()
		case wayBlackHole:
			p.BlackHole()
		case waySlow:
			p.Latency(time.Duration(s.n) * time.Millisecond)
		case wayReset:
			p.ResetAfter(faultproxy.Way(s.n%2), s.n)
		case wayMute:
			p.Drop(faultproxy.ToClient)
		case wayHalfOpen:
			p.HalfOpen()
		case wayStall:
			p.Stall(faultproxy.Way(s.n % 2))
		}
	}
}

func (w *way) heal() {
	for _, p := range w.proxies {
		p.Heal()
	}
}

func (w *way) close() {
	for _, p := range w.proxies {
		p.Close()
	}
}
