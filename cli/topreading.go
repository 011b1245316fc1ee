package cli

import (
	"encoding/json"
	"fmt"
	"time"
)

// serverState is what bb top reads from GET /status.
type serverState struct {
	Version string
	WAL     struct {
		Last    uint64
		Bytes   int64
		FsyncUS float64 `json:"fsync_us"`
	}
	Dispatch topTarget
	Routes   []topTarget
	Recorder struct {
		Stored uint64
		Lag    int64
		Fault  string
	}
	Live  struct{ Watchers int }
	Voice struct{ Desk deskStatus }
	// Retention is nil with an older server.
	Retention *retained
}

// topTarget is a broker that events are on their way to.
type topTarget struct {
	Name     string
	Target   string
	Position uint64
	Lag      uint64
	Dead     int
	Fault    string
}

// reading is a line of bb top: a state, and what happened since the one before.
type reading struct {
	At time.Time `json:"at"`
	// Up is false while the server does not answer; Error says why, and the rest is
	// zero.
	Up    bool   `json:"up"`
	Error string `json:"error,omitempty"`
	// Accepted is the newest sequence of the log.
	Accepted     uint64  `json:"accepted"`
	AcceptRate   float64 `json:"accepted_per_s"`
	DeliverRate  float64 `json:"delivered_per_s"`
	StoreRate    float64 `json:"stored_per_s"`
	BusLag       uint64  `json:"bus_lag"`
	StoreLag     int64   `json:"store_lag"` // -1 where it is not known
	BacklogBytes int64   `json:"log_bytes"`
	FsyncMS      float64 `json:"fsync_ms"`
	Dead         int     `json:"dead"`
	Sessions     int     `json:"sessions"`
	VoiceLag     float64 `json:"voice_lag_s"`
	Watchers     int     `json:"watchers"`
	StoreEvents  int64   `json:"store_events"`
	StoreBytes   int64   `json:"store_bytes"`
	// Faults say what does not work now.
	Faults []string `json:"faults"`
}

func readState(raw []byte) (s serverState, err error) {
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, fmt.Errorf("the server's status cannot be read: %w", err)
	}
	return s, nil
}

// since makes the line of s, which was read some time after before. A counter
// that has gone back is that of a server that was started anew.
func (s *serverState) since(before *serverState, at time.Time, elapsed time.Duration) reading {
	rate := func(now, then uint64) float64 {
		if now < then || elapsed <= 0 {
			return 0
		}
		return float64(now-then) / elapsed.Seconds()
	}
	r := reading{
		At: at.UTC(), Up: true, Faults: []string{},
		Accepted: s.WAL.Last, AcceptRate: rate(s.WAL.Last, before.WAL.Last),
		DeliverRate: rate(s.Dispatch.Position, before.Dispatch.Position), StoreRate: rate(s.Recorder.Stored, before.Recorder.Stored),
		BusLag: s.Dispatch.Lag, StoreLag: s.Recorder.Lag, BacklogBytes: s.WAL.Bytes, FsyncMS: s.WAL.FsyncUS / 1000,
		Dead: s.Dispatch.Dead, Sessions: s.Voice.Desk.Sessions, VoiceLag: s.Voice.Desk.Lag, Watchers: s.Live.Watchers,
	}
	if s.Retention != nil {
		r.StoreEvents, r.StoreBytes = s.Retention.Events, s.Retention.Bytes
		r.fault("retention", s.Retention.Fault)
	}
	r.fault("bus", s.Dispatch.Fault)
	r.fault("store", s.Recorder.Fault)
	for _, route := range s.Routes {
		name := route.Name
		if name == "" {
			name = route.Target
		}
		r.BusLag, r.Dead = max(r.BusLag, route.Lag), r.Dead+route.Dead
		r.fault("route "+name, route.Fault)
	}
	return r
}

func (r *reading) fault(part, what string) {
	if what != "" {
		r.Faults = append(r.Faults, part+": "+what)
	}
}
