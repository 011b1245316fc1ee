// Package client talks to a running Bloodbank over HTTP and returns the same
// errors as the server: every failure is a *[bloodbank.Error].
//
// It knows the API's address and forms, nothing of the server's inside. It is
// made to start fast, because `bb publish` is a process of its own: beside the
// root it imports the standard library alone, and connects on first use.
package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/33god/bloodbank"
)

const (
	// dialTimeout bounds a connect, callTimeout a call that is no stream.
	dialTimeout = 5 * time.Second
	callTimeout = time.Minute
	// maxAnswer bounds what is read of an answer in bytes: a page of 1000 events
	// of 1 MiB does not fit into memory either.
	maxAnswer = 256 << 20
)

// ErrNoServer is the cause of the error (CodeUnavailable) where nobody listens at
// the address: nothing was sent.
var ErrNoServer = errors.New("connection refused")

// Options configure a [Client].
type Options struct {
	// HTTPClient is used as it is; nil makes one of the client's own.
	HTTPClient *http.Client
	// Token is sent as Authorization: Bearer; "" sends none.
	Token string
	// UserAgent names the program; "" means "bloodbank-client".
	UserAgent string
	// Source stamps events that name none. Its zero fields mean: this machine,
	// manual, and the program's name of UserAgent.
	Source bloodbank.Source
}

// Client is a client of one server. It is safe for concurrent use.
type Client struct {
	base string
	http *http.Client
	o    Options
}

// New returns a client of the server at baseURL, such as http://127.0.0.1:8682.
// It does not connect.
func New(baseURL string, o Options) (*Client, error) {
	u, err := url.Parse(strings.TrimSpace(baseURL))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "%q is no address of a server; give one such as http://127.0.0.1:8682", redact(baseURL))
	}
	if o.HTTPClient == nil {
		o.HTTPClient = &http.Client{
			Transport: &http.Transport{
				Proxy:               http.ProxyFromEnvironment,
				DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
				TLSHandshakeTimeout: dialTimeout,
				MaxIdleConnsPerHost: 64,
				IdleConnTimeout:     time.Minute,
			},
			// A redirect would drop the body of a publish or carry the token away.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	o.UserAgent = cmp.Or(o.UserAgent, "bloodbank-client")
	return &Client{base: strings.TrimSuffix(u.String(), "/"), http: o.HTTPClient, o: o}, nil
}

// redact cuts credentials out of an address that is shown.
func redact(address string) string {
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		return "…" + address[i:]
	}
	return address
}

// URL is the address of the server.
func (c *Client) URL() string { return c.base }

// Close lets go of idle connections. The client can still be used.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call is one request that is no stream.
type call struct {
	method, path string
	query        url.Values
	header       http.Header
	body         []byte
	mediaType    string
}

// do makes the call and returns the body of a good answer.
func (c *Client) do(ctx context.Context, request call) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	response, err := c.open(ctx, request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode >= 300 {
		return nil, c.errorOf(response)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, c.unreachable(err)
	}
	if len(data) > maxAnswer {
		return nil, bloodbank.Errorf(bloodbank.CodeTooLarge, "the answer of %s is over %d bytes; ask for less at once", c.base, maxAnswer)
	}
	return data, nil
}

// doJSON makes the call and reads its answer into v.
func (c *Client) doJSON(ctx context.Context, request call, v any) error {
	data, err := c.do(ctx, request)
	if err != nil {
		return err
	}
	return c.read(data, v)
}

func (c *Client) read(data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return bloodbank.Errorf(bloodbank.CodeInternal, "what answers at %s is no Bloodbank, or one of another version: %w", c.base, err)
	}
	return nil
}

// open sends the request; the caller closes the body of the answer.
func (c *Client) open(ctx context.Context, request call) (*http.Response, error) {
	address := c.base + request.path
	if len(request.query) > 0 {
		address += "?" + request.query.Encode()
	}
	var body io.Reader
	if request.body != nil {
		body = bytes.NewReader(request.body)
	}
	r, err := http.NewRequestWithContext(ctx, request.method, address, body)
	if err != nil {
		return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "cannot make a request to %s: %w", c.base, err)
	}
	maps.Copy(r.Header, request.header)
	if request.mediaType != "" {
		r.Header.Set("Content-Type", request.mediaType)
	}
	maps.Copy(r.Header, c.headers())
	response, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(err)
	}
	return response, nil
}

// headers are those of every request.
func (c *Client) headers() http.Header {
	h := http.Header{"User-Agent": {c.o.UserAgent}}
	if c.o.Token != "" {
		h.Set("Authorization", "Bearer "+c.o.Token)
	}
	return h
}

// unreachable says why there is no answer. The cause stays, so that callers can
// ask for context.Canceled.
func (c *Client) unreachable(err error) error {
	var u *url.Error
	if errors.As(err, &u) { // its text repeats the address
		err = u.Err
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "no Bloodbank is running at %s (%w); start one with: bb up", c.base, ErrNoServer)
	case errors.Is(err, context.Canceled):
		return bloodbank.Errorf(bloodbank.CodeTimeout, "the call to %s was given up; it may still happen: %w", c.base, context.Canceled)
	case errors.Is(err, context.DeadlineExceeded):
		return bloodbank.Errorf(bloodbank.CodeTimeout, "%s did not answer in time; it may still happen: %w", c.base, context.DeadlineExceeded)
	}
	return bloodbank.Errorf(bloodbank.CodeUnavailable, "cannot reach Bloodbank at %s; is it running (bb up), and is the address right? %w", c.base, err)
}

// errorOf turns the server's error into ours.
func (c *Client) errorOf(response *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	var failure struct {
		Error *bloodbank.Error `json:"error"`
	}
	if err == nil && json.Unmarshal(data, &failure) == nil && failure.Error != nil && failure.Error.Code != "" {
		return failure.Error
	}
	return bloodbank.Errorf(codeOf(response.StatusCode), "%s answered %s, which no Bloodbank does; check the address and what stands between", c.base, response.Status)
}

// codeOf makes the best of a status without our error.
func codeOf(status int) bloodbank.Code {
	for _, code := range []bloodbank.Code{
		bloodbank.CodeNotFound, bloodbank.CodeTooLarge, bloodbank.CodeUnauthorized, bloodbank.CodeForbidden,
		bloodbank.CodeOverloaded, bloodbank.CodeUnavailable, bloodbank.CodeTimeout,
	} {
		if code.HTTPStatus() == status {
			return code
		}
	}
	if status >= 500 {
		return bloodbank.CodeUnavailable
	}
	return bloodbank.CodeInvalid
}
