package app

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/bus/jetstream"
	"github.com/33god/bloodbank/bus/rabbitmq"
	"github.com/33god/bloodbank/config"
	"github.com/33god/bloodbank/dispatch"
	"github.com/33god/bloodbank/store"
)

// route is a further broker with what brings events there. It fails and waits by
// itself: nothing else of the server looks at it.
type route struct {
	config.Route
	publisher bus.Publisher
	dispatch  *dispatch.Dispatcher
}

// openRoutes connects to the brokers of the routes. One that is down is no
// failure; one that refuses us is, as with the bus.
func (a *App) openRoutes(ctx context.Context) error {
	for _, r := range a.cfg.Bus.Routes {
		publisher, err := a.openRoute(ctx, r)
		if err != nil {
			return errors.Join(bloodbank.Errorf(bloodbank.CodeOf(err), "route %s (bus.routes, BB_ROUTES, --route): %w", r.Name, err), a.closeRoutes(ctx))
		}
		a.routes = append(a.routes, &route{Route: r, publisher: publisher})
	}
	return nil
}

func (a *App) openRoute(ctx context.Context, r config.Route) (bus.Publisher, error) {
	switch scheme(r.URL) {
	case "amqp", "amqps":
		address, exchange, err := cutExchange(r.URL)
		if err != nil {
			return nil, err
		}
		o, err := rabbitOptions(a.cfg, address)
		if err != nil {
			return nil, err
		}
		o.Exchange, o.Logger = exchange, a.log
		if exchange == "" {
			o.Exchange = a.cfg.Rabbit.Exchange
		}
		return rabbitmq.Open(ctx, o)
	case "nats", "tls":
		o := natsOptions(a.cfg, r.URL)
		o.Logger = a.log
		return jetstream.Dial(ctx, o)
	}
	return nil, unknownScheme("its URL", r.URL)
}

// cutExchange takes our own exchange=NAME out of a URL for RabbitMQ.
func cutExchange(address string) (rest, exchange string, err error) {
	u, err := url.Parse(address)
	if err != nil { // its text would repeat the password
		return "", "", bloodbank.Errorf(bloodbank.CodeInvalid, "its URL cannot be read; use one such as amqp://user:password@host:5672/vhost")
	}
	query := u.Query()
	exchange = query.Get("exchange")
	query.Del("exchange")
	u.RawQuery = query.Encode()
	return u.String(), exchange, nil
}

func (a *App) closeRoutes(ctx context.Context) error {
	var faults []error
	for _, r := range a.routes {
		faults = append(faults, r.publisher.Close(ctx))
	}
	a.routes = nil
	return errors.Join(faults...)
}

// routeRule makes a dispatcher's rule of a filter. What only asks for types is
// decided without decoding the event.
func routeRule(filter string) (rule dispatch.Rule, err error) {
	f, err := store.ParseFilter(filter, time.Now())
	if err != nil {
		return rule, err
	}
	if i := slices.IndexFunc(f.Terms, asksForTypes); i >= 0 {
		for _, v := range f.Terms[i].Values {
			rule.Types = append(rule.Types, v.Text)
		}
		f.Terms = slices.Delete(f.Terms, i, i+1)
	}
	if len(f.Terms) > 0 {
		rule.Match = f.Match
	}
	return rule, nil
}

func asksForTypes(t store.Term) bool {
	return t.Field == store.FieldType && !t.Not && !slices.ContainsFunc(t.Values, func(v store.Value) bool { return v.Phrase })
}

// startRoutes begins to serve the routes.
func (a *App) startRoutes(ctx context.Context) error {
	for _, r := range a.routes {
		rule, err := routeRule(r.Filter)
		if err != nil {
			return errors.Join(bloodbank.Errorf(bloodbank.CodeInvalid, "the filter of route %s (bus.routes, BB_ROUTES, --route): %w", r.Name, err), a.stopRoutes(ctx))
		}
		r.dispatch, err = a.newDispatcher(dispatch.Options{Target: r.Name, Publisher: r.publisher, Accepts: rule})
		if err == nil {
			err = r.dispatch.Start(ctx)
		}
		if err != nil {
			return errors.Join(err, a.stopRoutes(ctx))
		}
	}
	return nil
}

func (a *App) stopRoutes(ctx context.Context) error {
	var faults []error
	for _, r := range a.routes {
		if r.dispatch != nil {
			faults = append(faults, r.dispatch.Stop(ctx))
		}
	}
	return errors.Join(faults...)
}

// routeStatus is what /status shows of the routes.
func (a *App) routeStatus() []dispatch.Status {
	list := []dispatch.Status{}
	for _, r := range a.routes {
		list = append(list, r.dispatch.Status())
	}
	return list
}
