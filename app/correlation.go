package app

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/config"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/correlation/redis"
	"github.com/33god/bloodbank/recorder"
)

// causes answers the questions of cause. With Redis that is a copy, which links
// keeps level with the store; the store is asked where the copy cannot answer.
type causes struct {
	tracker correlation.Tracker

	copy     *redis.Tracker // nil without Redis, and so are the others
	links    *recorder.Links
	fallback *correlation.Fallback
}

// openCauses chooses the tracker.
func (a *App) openCauses(ctx context.Context) error {
	switch scheme(a.cfg.Correlation.URL) {
	case "", config.StoreTracker:
		a.causes = causes{tracker: a.store}
		return nil
	case "redis", "rediss":
	default:
		return unknownScheme("correlation.url (BB_CORRELATION, --correlation)", a.cfg.Correlation.URL)
	}
	o, err := redisOptions(a.cfg)
	if err != nil {
		return err
	}
	o.Lookup, o.Logger = a.store.Lookup, a.log
	copied, err := redis.Open(ctx, o)
	if err != nil {
		return err
	}
	c := causes{copy: copied, links: recorder.NewLinks(recorder.LinksOptions{Source: a.store, Keeper: copied, MaxAge: o.TTL, Logger: a.log})}
	c.fallback = correlation.NewFallback(correlation.FallbackOptions{Fast: copied, Truth: a.store, Ready: c.links.Ready, MaxAge: o.TTL})
	c.tracker = c.fallback
	if err := c.links.Start(ctx); err != nil {
		return errors.Join(err, copied.Close())
	}
	a.causes = c
	return nil
}

// redisOptions are those of the configured Redis.
func redisOptions(cfg config.Config) (redis.Options, error) {
	o, err := redis.ParseURL(cfg.Correlation.URL)
	if err != nil {
		return o, bloodbank.Errorf(bloodbank.CodeInvalid, "correlation.url (BB_CORRELATION, --correlation): %w", err)
	}
	o.TTL = time.Duration(cfg.Redis.TTLDays) * 24 * time.Hour
	return o, nil
}

func (a *App) closeCauses(ctx context.Context) error {
	if a.causes.copy == nil {
		return nil
	}
	return errors.Join(a.causes.links.Stop(ctx), a.causes.copy.Close())
}

func (c *causes) wake(last int64) {
	if c.links != nil {
		c.links.Wake(last)
	}
}

// status is what /status shows.
func (c *causes) status(ctx context.Context) map[string]any {
	if c.copy == nil {
		return map[string]any{"name": config.StoreTracker}
	}
	return map[string]any{"name": "redis", "redis": c.copy.Status(), "links": c.links.Status(ctx), "answers": c.fallback.Status()}
}

// RebuildCorrelation writes all causes that the store knows into the configured
// Redis, where they are missing. It adds only, and may run beside a server.
func RebuildCorrelation(ctx context.Context, cfg config.Config, dryRun bool, progress func(at, last int64)) (r recorder.Rebuilt, err error) {
	if s := scheme(cfg.Correlation.URL); s != "redis" && s != "rediss" {
		return r, bloodbank.Errorf(bloodbank.CodeInvalid, "no Redis is configured; give one with --correlation redis://host:6379/0, BB_CORRELATION or REDIS_HOST")
	}
	a := New(cfg, "", io.Discard)
	if err := a.openStore(ctx); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, a.closeStore(ctx)) }()
	o, err := redisOptions(cfg)
	if err != nil {
		return r, err
	}
	o.Lookup = a.store.Lookup
	copied, err := redis.Open(ctx, o)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, copied.Close()) }()
	return recorder.RebuildLinks(ctx, recorder.RebuildOptions{
		Source: a.store, Keeper: copied, MaxAge: o.TTL, DryRun: dryRun, Progress: progress,
	})
}
