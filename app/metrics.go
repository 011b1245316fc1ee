package app

import (
	"context"

	"github.com/33god/bloodbank/internal/telemetry"
	"github.com/33god/bloodbank/voice"
)

// metrics are the numbers of /metrics, of every part with a lag.
func (a *App) metrics(ctx context.Context) []telemetry.Sample {
	return append(a.flowMetrics(ctx), voiceMetrics(a.voice.desk.Status())...)
}

func gauge(name, help string, value float64) telemetry.Sample {
	return telemetry.Sample{Name: "bloodbank_" + name, Help: help, Kind: telemetry.Gauge, Value: value}
}

func counter(name, help string, value float64) telemetry.Sample {
	return telemetry.Sample{Name: "bloodbank_" + name + "_total", Help: help, Kind: telemetry.Counter, Value: value}
}

func with(s telemetry.Sample, label, value string) telemetry.Sample {
	s.Labels = map[string]string{label: value}
	return s
}

func (a *App) flowMetrics(ctx context.Context) []telemetry.Sample {
	log, bus, recorder, live := a.wal.Status(), a.dispatch.Status(), a.recorder.Status(ctx), a.live.Status()
	all := []telemetry.Sample{
		counter("log_records", "Events accepted since the log was made.", float64(log.Last)),
		gauge("log_bytes", "Size of the log.", float64(log.Bytes)),
		gauge("log_fsync_seconds", "Moving average of what a sync of the log takes.", log.FsyncMicros/1e6),
		gauge("dispatch_lag", "Accepted events that the bus has not confirmed.", float64(bus.Lag)),
		gauge("dispatch_dead_letters", "Open dead letters of the bus.", float64(bus.Dead)),
		gauge("dispatch_up", "1 while the bus takes events.", truth(bus.Fault == "")),
		counter("recorder_stored", "Events stored since the start.", float64(recorder.Stored)),
		counter("recorder_duplicates", "Events that came again since the start.", float64(recorder.Duplicates)),
		counter("recorder_rejected", "Messages that are no events since the start.", float64(recorder.Rejected)),
		gauge("recorder_up", "1 while the store takes events.", truth(recorder.Fault == "")),
		gauge("live_watchers", "Clients of the live stream.", float64(live.Watchers)),
	}
	if recorder.Lag >= 0 { // else it is not known
		all = append(all, gauge("recorder_lag", "Events on the bus that are not stored.", float64(recorder.Lag)))
	}
	return all
}

func voiceMetrics(s voice.Status) []telemetry.Sample {
	const sessions, utterances = "Open voice sessions, by whether their client is there.", "Utterances since the start, by their outcome."
	c := s.Counts
	delay := telemetry.Histogram{Count: c.Delay.Count, Sum: c.Delay.Seconds, Buckets: map[float64]uint64{}}
	for i, bound := range voice.DelayBounds() {
		if i < len(c.Delay.Buckets) {
			delay.Buckets[bound] = c.Delay.Buckets[i]
		}
	}
	return []telemetry.Sample{
		with(gauge("voice_sessions", sessions, float64(s.Sessions-s.Waiting)), "client", "connected"),
		with(gauge("voice_sessions", sessions, float64(s.Waiting)), "client", "away"),
		gauge("voice_sessions_limit", "How many may be open.", float64(s.MaxSessions)),
		gauge("voice_lag_seconds", "Speech of all sessions that waits to be transcribed.", s.Lag),
		gauge("voice_lag_limit_seconds", "From where on nobody more is let in.", s.MaxLag),
		counter("voice_opened", "Sessions since the start.", float64(c.Opened)),
		counter("voice_refused", "Clients without a place since the start.", float64(c.Refused)),
		counter("voice_audio_seconds", "Audio received since the start.", c.Audio),
		with(counter("voice_utterances", utterances, float64(c.Utterances-c.Truncated)), "outcome", "whole"),
		with(counter("voice_utterances", utterances, float64(c.Truncated)), "outcome", "truncated"),
		with(counter("voice_utterances", utterances, float64(c.Failed)), "outcome", "failed"),
		{Name: "bloodbank_voice_final_delay_seconds", Help: "From the decided end of an utterance to its event being durable.", Histogram: &delay},
	}
}

func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
