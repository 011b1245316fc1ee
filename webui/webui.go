// Package webui is Candybar, the page that bb up shows at /: the built files of
// web/, embedded, and the handler that serves them. With the build tag noui they are
// left out.
//
// The page gets a policy under which no text of an event can become code: scripts and
// styles come from its own files alone, and nothing makes HTML from text.
package webui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

const index = "index.html"

// Page serves the files. It is safe for concurrent use.
type Page struct {
	files fs.FS
	packs map[string]func() (pack, error) // by path; each is made once
}

// pack is a file as it is sent.
type pack struct {
	plain, zipped []byte
	tag           string
}

// New returns the page, or nil when the binary was built without it.
func New() *Page {
	page, err := newPage(embedded())
	if err != nil {
		return nil // there is no index, so there is no page
	}
	return page
}

func newPage(files fs.FS) (*Page, error) {
	p := &Page{files: files, packs: make(map[string]func() (pack, error))}
	if _, err := fs.Stat(files, index); err != nil {
		return nil, err
	}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			p.packs[name] = sync.OnceValues(func() (pack, error) { return makePack(files, name) })
		}
		return err
	})
	return p, err
}

func makePack(files fs.FS, name string) (pack, error) {
	plain, err := fs.ReadFile(files, name)
	if err != nil {
		return pack{}, err
	}
	sum := sha256.Sum256(plain)
	var zipped bytes.Buffer
	w, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err != nil {
		return pack{}, err
	}
	if _, err := w.Write(plain); err != nil {
		return pack{}, err
	}
	if err := w.Close(); err != nil {
		return pack{}, err
	}
	return pack{plain: plain, zipped: zipped.Bytes(), tag: `"` + hex.EncodeToString(sum[:12]) + `"`}, nil
}

// ServeHTTP answers / with the page and everything else with the file of that name,
// or 404. Files with a hash in their name may be kept for ever.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	if name == "" {
		name = index
	}
	load, ok := p.packs[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	file, err := load()
	if err != nil {
		http.Error(w, "a file of the page cannot be read; build bb again", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	setPolicy(h, r.Host)
	h.Set("Etag", file.tag)
	h.Set("Vary", "Accept, Accept-Encoding")
	h.Set("Cache-Control", "no-cache")
	if isHashed(name) {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if r.Header.Get("If-None-Match") == file.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", mediaType(name))
	body := file.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") && len(file.zipped) < len(body) {
		h.Set("Content-Encoding", "gzip")
		body = file.zipped
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client has gone
	}
}

// mediaType does not ask the machine's own table: it may lack a type that the
// browser insists on.
func mediaType(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".html":
		return "text/html; charset=utf-8"
	}
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		return t
	}
	return "application/octet-stream"
}

// isHashed reports whether a name changes with what is in the file: name-12345678.js.
func isHashed(name string) bool {
	const length = 8
	stem := strings.TrimSuffix(path.Base(name), path.Ext(name))
	at := len(stem) - length - 1
	return at > 0 && stem[at] == '-' && path.Base(name) != "pcm-worklet.js"
}

func setPolicy(h http.Header, host string) {
	connect := "'self'"
	if isPlainHost(host) { // an older Safari does not count WebSockets to 'self'
		connect += " ws://" + host + " wss://" + host
	}
	h.Set("Content-Security-Policy", strings.Join([]string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "font-src 'self'",
		"connect-src " + connect, "worker-src 'self'", "manifest-src 'self'", "base-uri 'none'", "form-action 'none'",
		"frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types svelte-trusted-html",
	}, "; "))
	h.Set("Permissions-Policy", "microphone=(self), camera=(), geolocation=()")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// isPlainHost keeps a host out of the policy that could add to it.
func isPlainHost(host string) bool {
	return host != "" && strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]") == ""
}
