package rabbitmq

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/33god/bloodbank/bus"
)

// Sentinels of this driver.
var (
	// ErrRefused: the broker answers and refuses. Trying again cannot help until
	// a setting, there or here, is changed; the message says which.
	ErrRefused = errors.New("refused by the broker")
	// ErrUnroutable: the broker confirmed the message and dropped it, because no
	// queue takes it.
	ErrUnroutable = errors.New("rabbitmq: no queue takes the message, so the broker dropped it")
	// ErrBlocked: the broker is low on memory or disk and reads nothing more
	// from publishers.
	ErrBlocked = errors.New("rabbitmq: the broker blocks publishers until it has memory and disk again")

	errUnconfirmed = errors.New("rabbitmq: no confirm in time; it may still be stored, send it again with the same id")
	errNacked      = errors.New("rabbitmq: the broker could not store the message")
	errSlow        = errors.New("rabbitmq: the login took too long")
	errStopped     = errors.New("rabbitmq: the question was given up")
	errConnecting  = errors.New("rabbitmq: not connected yet")
)

// tooLarge is how the broker refuses a message for its size.
var tooLarge = regexp.MustCompile(`message size \d+ is larger than (?:configured )?max size (\d+)`)

// refusal is an error with words of our own that is ErrRefused.
type refusal struct {
	text  string
	cause error
}

func (r *refusal) Error() string   { return "rabbitmq: " + r.text }
func (r *refusal) Unwrap() []error { return []error{ErrRefused, r.cause} }

func refused(cause error, format string, args ...any) error {
	return &refusal{text: fmt.Sprintf(format, args...) + " (" + reason(cause) + ")", cause: cause}
}

// reason is the broker's own words, if it said any. They name users and
// resources, never a password.
func reason(err error) string {
	var said *amqp.Error
	if errors.As(err, &said) {
		return said.Reason
	}
	return err.Error()
}

// explainConnect says why a connection could not be made, and which setting to
// look at. silent: the broker hung up instead of answering.
func (d *dialer) explainConnect(err error, user string, silent bool) error {
	var said *amqp.Error
	var record tls.RecordHeaderError
	var certificate *tls.CertificateVerificationError
	var alert tls.AlertError
	var file *fs.PathError
	switch {
	case errors.As(err, &record):
		return refused(err, "%s does not speak TLS; use amqp:// in the URL, or the broker's TLS port", d.place)
	case errors.As(err, &certificate):
		return refused(err, "the certificate of %s is not trusted; set cacertfile (or server_name_indication) in the URL", d.place)
	case errors.As(err, &alert):
		return refused(err, "%s refuses the client's certificate; set certfile and keyfile in the URL", d.place)
	case errors.As(err, &file):
		return refused(err, "a TLS file named in the URL cannot be read")
	case errors.Is(err, amqp.ErrSASL):
		return refused(err, "%s offers none of our ways to log in; set auth_mechanism in the URL", d.place)
	case !errors.As(err, &said):
		return fmt.Errorf("rabbitmq: cannot connect to %s: %w", d.place, err)
	case said.Code == amqp.AccessRefused && !said.Server && !silent:
		return fmt.Errorf("rabbitmq: %s does not answer the login in time", d.place)
	case errors.Is(err, amqp.ErrVhost) && !said.Server:
		return fmt.Errorf("rabbitmq: %s hung up before it opened the virtual host", d.place)
	case said.Code == amqp.AccessRefused:
		hint := ""
		if user == "guest" {
			hint = "; guest may log in from the broker's own machine only"
		}
		return refused(err, "%s does not let user %q in; check user and password in the URL%s", d.place, user, hint)
	case said.Code == amqp.NotAllowed && !strings.Contains(said.Reason, "limit"):
		return refused(err, "user %q may not use virtual host %q of %s; check the path of the URL, "+
			"or grant it with: rabbitmqctl set_permissions", user, d.uri.Vhost, d.place)
	}
	return fmt.Errorf("rabbitmq: %s broke off the login: %w", d.place, err)
}

// explainClose says why the broker closed a channel or a connection that was in
// use for publishing.
func (o Options) explainClose(err *amqp.Error) error {
	switch {
	case err == nil:
		return fmt.Errorf("rabbitmq: connection closed before the confirm; the message may be stored, send it again with the same id")
	case tooLarge.MatchString(err.Reason):
		return &sizeError{limit: sizeLimit(err.Reason), cause: err}
	case err.Code == amqp.AccessRefused:
		return refused(err, "the user may not publish to exchange %q; grant write on it with: rabbitmqctl set_permissions", o.Exchange)
	case err.Code == amqp.NotFound:
		return fmt.Errorf("rabbitmq: exchange %q is gone; it is declared again: %w", o.Exchange, err)
	}
	return fmt.Errorf("rabbitmq: connection lost before the confirm; the message may be stored, send it again with the same id: %w", err)
}

// sizeError ends a session because one of its messages was too large.
type sizeError struct {
	limit int
	cause error
}

func (e *sizeError) Error() string {
	return fmt.Sprintf("rabbitmq: the broker closed the channel over a message of more than %d bytes; send the others again with the same id", e.limit)
}

func (e *sizeError) Unwrap() error { return e.cause }

func sizeLimit(reason string) int {
	n, err := strconv.Atoi(tooLarge.FindStringSubmatch(reason)[1])
	if err != nil {
		return 0
	}
	return n
}

func rejectSize(size, limit int) error {
	return fmt.Errorf("%w: it has %d bytes, the limit is %d", bus.ErrRejected, size, limit)
}
