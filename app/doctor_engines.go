package app

import (
	"context"
	"errors"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus/jetstream"
	"github.com/33god/bloodbank/bus/rabbitmq"
	"github.com/33god/bloodbank/config"
	"github.com/33god/bloodbank/correlation/redis"
	"github.com/33god/bloodbank/recorder"
	"github.com/33god/bloodbank/store/postgres"
)

// probeLimit bounds the look at one server.
const probeLimit = 15 * time.Second

// checkEngines tries the servers of the configuration and changes nothing there.
// One that is down is a warning, since bb up works all the same; one that refuses
// us for good is a failure.
func checkEngines(ctx context.Context, cfg config.Config) []Finding {
	findings := []Finding{
		checkEngine(ctx, "bus", cfg.Bus.URL, func(ctx context.Context) error { return probeBroker(ctx, cfg, cfg.Bus.URL, cfg.Rabbit.Exchange, true) }),
		checkEngine(ctx, "store", cfg.Store.URL, func(ctx context.Context) error { return probeStore(ctx, cfg) }),
		checkEngine(ctx, "correlation", cfg.Correlation.URL, func(ctx context.Context) error { return probeRedis(ctx, cfg) }),
	}
	for _, r := range cfg.Bus.Routes {
		findings = append(findings, checkEngine(ctx, "route "+r.Name, r.URL, func(ctx context.Context) error { return probeRoute(ctx, cfg, r) }))
	}
	return findings
}

func checkEngine(ctx context.Context, name, url string, probe func(context.Context) error) Finding {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	switch err := probe(ctx); {
	case errors.Is(err, errNoServer):
		return pass(name, "inside bb, nothing to reach")
	case err == nil:
		return pass(name, "%s is there and lets us work", scheme(url))
	case errors.Is(err, redis.ErrEvicts):
		return warn(name, "%v", err)
	case passing(err):
		return warn(name, "it is down; events wait until it is there: %v", err)
	default:
		return fail(name, "%v", err)
	}
}

// errNoServer says that there is nothing to probe.
var errNoServer = errors.New("no server")

// passing reports whether a fault may mend itself.
func passing(err error) bool {
	code := bloodbank.CodeOf(err)
	return code == bloodbank.CodeUnavailable || code == bloodbank.CodeTimeout
}

func probeBroker(ctx context.Context, cfg config.Config, url, exchange string, main bool) error {
	switch scheme(url) {
	case "amqp", "amqps":
		o, err := rabbitOptions(cfg, url)
		if err != nil {
			return err
		}
		o.Exchange = exchange
		if main {
			o.Groups = []string{recorder.Group}
		}
		return brokerFault(rabbitmq.Probe(ctx, o), rabbitmq.ErrRefused)
	case "nats", "tls":
		return brokerFault(jetstream.Probe(ctx, natsOptions(cfg, url)), jetstream.ErrRefused)
	}
	return errNoServer
}

// brokerFault gives what a broker said a code: what it refuses stays refused, all
// else may pass.
func brokerFault(err, refused error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, refused):
		return bloodbank.Errorf(bloodbank.CodeInvalid, "%w", err)
	case bloodbank.CodeOf(err) == bloodbank.CodeInternal:
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "%w", err)
	}
	return err
}

func probeRoute(ctx context.Context, cfg config.Config, r config.Route) error {
	if _, err := routeRule(r.Filter); err != nil {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "its filter: %w", err)
	}
	address, exchange := r.URL, ""
	if s := scheme(r.URL); s == "amqp" || s == "amqps" {
		var err error
		if address, exchange, err = cutExchange(r.URL); err != nil {
			return err
		}
	}
	if exchange == "" {
		exchange = cfg.Rabbit.Exchange
	}
	return probeBroker(ctx, cfg, address, exchange, false)
}

func probeStore(ctx context.Context, cfg config.Config) error {
	switch scheme(cfg.Store.URL) {
	case "postgres", "postgresql":
		return postgres.Probe(ctx, postgres.Options{URL: cfg.Store.URL})
	}
	return errNoServer
}

func probeRedis(ctx context.Context, cfg config.Config) error {
	switch scheme(cfg.Correlation.URL) {
	case "redis", "rediss":
		o, err := redisOptions(cfg)
		if err != nil {
			return err
		}
		return redis.Probe(ctx, o)
	}
	return errNoServer
}
