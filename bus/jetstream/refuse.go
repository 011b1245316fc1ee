package jetstream

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrRefused: the server answers and refuses. Trying again cannot help until a
// setting, there or here, is changed; the message says which.
var ErrRefused = errors.New("refused by the server")

// Error codes of the server's API.
const (
	codeNoPeers  = 10005
	codeOverlap  = 10065
	codeReplicas = 10074
)

// refusal is an error with words of our own that is ErrRefused.
type refusal struct {
	text  string
	cause error
}

func (r *refusal) Error() string {
	if r.cause == nil {
		return "jetstream: " + r.text
	}
	return "jetstream: " + r.text + " (" + r.cause.Error() + ")"
}

func (r *refusal) Unwrap() []error { return []error{ErrRefused, r.cause} }

func refused(cause error, format string, args ...any) error {
	return &refusal{text: fmt.Sprintf(format, args...), cause: cause}
}

// explainConnect says why a connection could not be made, and which setting to
// look at. The library's errors name no secrets.
func (r *remote) explainConnect(err error) error {
	var record tls.RecordHeaderError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		return refused(err, "the credentials for %s have ended; get new ones into the file of bus.credentials (BB_BUS_CREDENTIALS)", r.place)
	case errors.Is(err, nats.ErrAuthorization):
		return refused(err, "%s does not let us in %s", r.place, r.who())
	case errors.Is(err, nats.ErrSecureConnWanted), errors.As(err, &record):
		return refused(err, "%s does not speak TLS; use nats:// in bus.url (BB_BUS) and no bus.ca or bus.cert, or set tls on the server", r.place)
	case errors.As(err, &certificate):
		return refused(err, "the certificate of %s is not trusted; set bus.ca (BB_BUS_CA)", r.place)
	case err != nil && strings.Contains(err.Error(), "remote error: tls"):
		return refused(err, "%s refuses the client's certificate; set bus.cert and bus.key (BB_BUS_CERT, BB_BUS_KEY)", r.place)
	}
	return fmt.Errorf("jetstream: cannot connect to %s: %w", r.place, err)
}

// who names the credentials in use, and never their secret.
func (r *remote) who() string {
	switch o := r.opts; {
	case o.CredsFile != "":
		return "with the credentials of " + o.CredsFile + "; check that its user belongs to an account of this server"
	case o.NKeyFile != "":
		return "with the key of " + o.NKeyFile + "; check that the server knows its public key"
	case r.user != "":
		return fmt.Sprintf("as user %q; check user and password in bus.url (BB_BUS)", r.user)
	case r.token:
		return "with the token; check it in bus.url (BB_BUS)"
	}
	return "without credentials; put user:password@ into bus.url (BB_BUS), or name a .creds file in bus.credentials (BB_BUS_CREDENTIALS)"
}

// explainAPI says why the server's API refused, and which setting to look at.
func (r *remote) explainAPI(err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil || errors.Is(err, ErrRefused):
		return err
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return refused(nil, "the account at %s has no JetStream; enable it there (jetstream: enabled, or nsc edit account --js-disk-storage)", r.place)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, nats.ErrNoResponders):
		return refused(nil, "JetStream is off at %s; start the server with -js, or with jetstream { store_dir: ... } in its configuration", r.place)
	case !errors.As(err, &api):
		return fmt.Errorf("jetstream: %s does not answer for its stream %s: %w", r.place, Stream, err)
	case api.ErrorCode == codeOverlap:
		return refused(err, "another stream at %s takes %s> already; remove that subject there (nats stream ls --subjects)", r.place, SubjectPrefix)
	case api.ErrorCode == codeReplicas:
		return refused(err, "Replicas is %d, and %s is no cluster; use 1", r.opts.Replicas, r.place)
	case api.ErrorCode == codeNoPeers:
		return fmt.Errorf("jetstream: %s has too few servers with room for the replicas of %s now; lower Replicas, or start more: %w", r.place, Stream, err)
	}
	return fmt.Errorf("jetstream: %s refuses its stream %s: %w", r.place, Stream, err)
}

// explainDenied turns the server's words about a permission into ours.
func explainDenied(err error) error {
	verb := "publish to"
	if strings.Contains(strings.ToLower(err.Error()), "subscription") {
		verb = "subscribe to"
	}
	return refused(nil, "the user may not %s %q; grant it in the server's permissions (needed: publish %s>, $JS.API.>, $JS.ACK.%s.>; "+
		"subscribe _INBOX.>, or set InboxPrefix)", verb, subjectOf(err), SubjectPrefix, Stream)
}

// subjectOf is what stands in quotes in a report of a missing permission.
func subjectOf(err error) string {
	_, rest, _ := strings.Cut(err.Error(), "\"")
	subject, _, _ := strings.Cut(rest, "\"")
	return subject
}
