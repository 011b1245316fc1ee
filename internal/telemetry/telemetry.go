// Package telemetry shows the numbers of a process to Prometheus, in its text
// format (https://prometheus.io/docs/instrumenting/exposition_formats/). It knows
// no part of the server: whoever has numbers hands them over when they are asked
// for.
package telemetry

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Kind says how a number behaves.
type Kind int

// The kinds.
const (
	Gauge   Kind = iota + 1 // goes up and down
	Counter                 // only grows; its name ends in _total
)

// Sample is one number now. Samples of one name have the same help, kind and names
// of labels.
type Sample struct {
	Name   string
	Help   string
	Kind   Kind
	Labels map[string]string
	Value  float64
	// Histogram stands in for Kind and Value.
	Histogram *Histogram
}

// Histogram counts observations in buckets that each hold those before it.
type Histogram struct {
	Count   uint64
	Sum     float64
	Buckets map[float64]uint64 // by upper bound
}

// Handler serves what read returns, beside the numbers of the Go runtime and of the
// process. read is called for each request, with its context, and by several
// goroutines at once.
func Handler(read func(context.Context) []Sample) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		registry := prometheus.NewRegistry()
		registry.MustRegister(collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsGC)), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
			collector(read(r.Context())))
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	})
}

// collector is a set of samples. It describes nothing beforehand: which there are
// depends on how the server is set up.
type collector []Sample

// Describe implements prometheus.Collector.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector. A sample that makes no sense fails the
// whole answer, with its name.
func (c collector) Collect(out chan<- prometheus.Metric) {
	for _, s := range c {
		out <- s.metric()
	}
}

func (s *Sample) metric() prometheus.Metric {
	desc := prometheus.NewDesc(s.Name, s.Help, nil, s.Labels)
	var m prometheus.Metric
	var err error
	switch {
	case s.Histogram != nil:
		m, err = prometheus.NewConstHistogram(desc, s.Histogram.Count, s.Histogram.Sum, s.Histogram.Buckets)
	case s.Kind == Counter:
		m, err = prometheus.NewConstMetric(desc, prometheus.CounterValue, s.Value)
	default:
		m, err = prometheus.NewConstMetric(desc, prometheus.GaugeValue, s.Value)
	}
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return m
}
