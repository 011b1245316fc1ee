package telemetry_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/33god/bloodbank/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ask(t *testing.T, samples ...telemetry.Sample) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	telemetry.Handler(func(context.Context) []telemetry.Sample { return samples }).ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestHandler(t *testing.T) {
	t.Parallel()
	status, body := ask(t,
		telemetry.Sample{Name: "bb_lag", Help: "Events that wait.", Kind: telemetry.Gauge, Value: 3, Labels: map[string]string{"to": "store"}},
		telemetry.Sample{Name: "bb_lag", Help: "Events that wait.", Kind: telemetry.Gauge, Value: 4, Labels: map[string]string{"to": "b\"us"}},
		telemetry.Sample{Name: "bb_events_total", Help: "All.", Kind: telemetry.Counter, Value: 1e7},
		telemetry.Sample{Name: "bb_delay_seconds", Help: "Took.", Histogram: &telemetry.Histogram{Count: 2, Sum: 1.5, Buckets: map[float64]uint64{0.5: 1, 1: 2}}},
	)
	if status != http.StatusOK {
		t.Fatalf("%d: %s", status, body)
	}
	for _, want := range []string{
		"# HELP bb_lag Events that wait.\n# TYPE bb_lag gauge\n", `bb_lag{to="store"} 3`, `bb_lag{to="b\"us"} 4`,
		"# TYPE bb_events_total counter\nbb_events_total 1e+07\n", `bb_delay_seconds_bucket{le="0.5"} 1`,
		`bb_delay_seconds_bucket{le="+Inf"} 2`, "bb_delay_seconds_sum 1.5\nbb_delay_seconds_count 2\n",
		"go_goroutines ", "process_start_time_seconds ",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is missing in\n%s", want, body)
		}
	}
}

func TestNonsenseIsNamed(t *testing.T) {
	t.Parallel()
	status, body := ask(t, telemetry.Sample{Name: "bb_twice", Kind: telemetry.Gauge, Value: 1}, telemetry.Sample{Name: "bb_twice", Kind: telemetry.Gauge, Value: 2})
	if status != http.StatusInternalServerError || !strings.Contains(body, "bb_twice") {
		t.Errorf("%d %s", status, body)
	}
}
