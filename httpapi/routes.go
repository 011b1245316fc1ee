package httpapi

import (
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/33god/bloodbank"
)

// route is one operation. public ones need no token.
type route struct {
	pattern string
	serve   http.HandlerFunc
}

// routes is everything that is served; a test holds openapi.json equal to it.
func (s *Server) routes() []route {
	return []route{
		{"GET /{$}", s.home},
		{"POST /events", s.publish},
		{"POST /events/{type...}", s.publishPayload},
		{"GET /events", s.queryEvents},
		{"GET /events/stream", s.stream},
		{"GET /api/v1/stream", s.socket},
		{"GET /events/facets", s.facets},
		{"GET /events/histogram", s.histogram},
		{"GET /events/{id}", s.event},
		{"GET /events/{id}/graph", s.graph},
		{"GET /export", s.export},
		{"GET /sessions", s.listSessions},
		{"GET /sessions/{id}", s.session},
		{"GET /sessions/{id}/transcript", s.transcript},
		{"GET /debug/correlation/{id}", s.correlation},
		{"GET /debug/correlation/{id}/chain", s.chain},
		{"GET /schemas", s.listSchemas},
		{"GET /schemas/{type}", s.schema},
		{"POST /validate/{type}", s.validate},
		{"GET /dlq", s.listDead},
		{"GET /dlq/{number}", s.deadLetter},
		{"POST /dlq/{number}/redrive", s.redriveOne},
		{"POST /dlq/redrive", s.redriveMany},
		{"POST /dlq/discard", s.discard},
		{"POST /replay", s.replay},
		{"GET /replay/{job}", s.replayJob},
		{"GET /targets", s.listTargets},
		{"POST /targets/{name}/give-up", s.giveUp},
		{"GET /candystore/events", s.candystoreEvents},
		{"GET /candystore/events/{id}", s.candystoreEvent},
		{"GET /candystore/health", s.health},
		{"GET /health", s.health},
		{"GET /healthz", s.healthz},
		{"GET /readyz", s.readyz},
		{"GET /status", s.status},
		{"GET /metrics", s.metrics},
		{"GET /openapi.json", s.openapi},
		{"GET /asr", s.asr},
		{"GET /api/v1/voice", s.voiceStream},
		{"GET /v1/listen", s.listen},
		{"POST /v1/audio/transcriptions", s.transcriptions},
	}
}

// isPublic names what a prober may ask without a token; it tells nothing but
// whether the server works.
func isPublic(path string) bool {
	return path == "/healthz" || path == "/readyz" || path == "/health" || path == "/candystore/health"
}

// nothingHere answers what no route matches: 405 where another method would, else
// 404.
func (s *Server) nothingHere(w http.ResponseWriter, r *http.Request) {
	allowed := s.methods(r)
	if len(allowed) == 0 {
		s.fail(w, r, bloodbank.Errorf(bloodbank.CodeNotFound, "there is nothing at %s; GET /openapi.json lists what there is", short(r.URL.Path)))
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	s.failStatus(w, r, http.StatusMethodNotAllowed,
		bloodbank.Errorf(bloodbank.CodeInvalid, "%s is not possible at %s; use %s", short(r.Method), short(r.URL.Path), strings.Join(allowed, " or ")))
}

func (s *Server) methods(r *http.Request) []string {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
		probe := &http.Request{Method: method, URL: r.URL, Host: r.Host}
		if _, pattern := s.mux.Handler(probe); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	slices.Sort(allowed)
	return allowed
}

// short cuts input that is quoted in a message.
func short(s string) string {
	const limit = 120
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

func stack() string { return string(debug.Stack()) }
