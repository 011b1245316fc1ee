package httpapi

import (
	"net/http"
	urlpath "path"
	"strings"

	"github.com/33god/bloodbank"
)

// mountPage adds the web page, which is no part of the API: openapi.json is silent
// about it. Programs still get JSON at /.
func (s *Server) mountPage() {
	if s.o.Page == nil {
		return
	}
	s.mux.Handle("GET /assets/", s.o.Page)
	s.mux.HandleFunc("GET /e/{id}", s.eventPage)
}

// home answers browsers with the page and everybody else with a hint.
func (s *Server) home(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	if s.o.Page != nil && wantsPage(r) {
		s.o.Page.ServeHTTP(w, r)
		return
	}
	s.hint(w, r)
}

// eventPage is the short link to an event. The address it leads to is relative, so that it
// holds behind a proxy with a path of its own.
func (s *Server) eventPage(w http.ResponseWriter, r *http.Request) {
	id, err := pathID(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Vary", "Accept")
	if !wantsPage(r) {
		s.event(w, r)
		return
	}
	w.Header().Set("Location", "../#/e/"+id.String())
	w.WriteHeader(http.StatusFound)
}

// wantsPage reports whether a browser asks to show something.
func wantsPage(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

// isPageFile names what a browser loads before it can show a token: files that are
// the same everywhere.
func (s *Server) isPageFile(r *http.Request) bool {
	if s.o.Page == nil || len(s.tokens) == 0 || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	path := r.URL.Path
	if path != urlpath.Clean(path) && path != "/assets/" {
		return false
	}
	return path == "/" && wantsPage(r) || strings.HasPrefix(path, "/assets/") ||
		strings.HasPrefix(path, "/e/") && wantsPage(r) && isID(strings.TrimPrefix(path, "/e/"))
}

func isID(text string) bool {
	_, err := bloodbank.ParseEventID(text)
	return err == nil
}
