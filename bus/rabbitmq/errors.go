package rabbitmq

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
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
	errUnreadable  = errors.New("rabbitmq: the URL cannot be read")
	errConnecting  = errors.New("rabbitmq: not connected yet")
)

// alien is what the library says of bytes that are not AMQP 0-9-1.
func alien(reason string) bool {
	return strings.Contains(reason, "frame could not be parsed") || strings.Contains(reason, "frame size exceeds negotiated frame_max")
}

// remoteAlert is a TLS alert of the other side, as the library hands it on.
func remoteAlert(reason string) bool { return strings.Contains(reason, "remote error: tls:") }

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

// The settings that people look for, with the variables that set them.
const (
	urlSetting      = "bus.url (BB_BUS or RABBIT_URL)"
	exchangeSetting = "rabbit.exchange (EXCHANGE_NAME)"
	queueSetting    = "bus.queue_type (BB_BUS_QUEUE_TYPE)"
	caSetting       = "bus.ca (BB_BUS_CA)"
	certSetting     = "bus.cert and bus.key (BB_BUS_CERT, BB_BUS_KEY)"
)

// explainConnect says why a connection could not be made, and which setting to
// look at. silent: the broker hung up instead of answering.
func (d *dialer) explainConnect(err error, user string, silent bool) error {
	var said *amqp.Error
	if errors.Is(err, amqp.ErrSASL) {
		return refused(err, "%s offers none of our ways to log in; set auth_mechanism in %s", d.place, urlSetting)
	}
	if errors.As(err, &said) {
		return d.explainLogin(err, said, user, silent)
	}
	return d.explainDial(err)
}

// explainDial is for what happens before the first word of AMQP.
func (d *dialer) explainDial(err error) error {
	var record tls.RecordHeaderError
	var certificate *tls.CertificateVerificationError
	var alert tls.AlertError
	var remote *net.OpError // its Op is "remote error" for an alert of the other side
	var file *fs.PathError
	switch {
	case errors.As(err, &record):
		return refused(err, "%s does not speak TLS; write amqp:// in %s, or the broker's TLS port", d.place, urlSetting)
	case errors.As(err, &certificate):
		return refused(err, "the certificate of %s is not trusted; name its authority in %s, or the host of the certificate in %s",
			d.place, caSetting, urlSetting)
	case errors.As(err, &alert), errors.As(err, &remote) && remote.Op == "remote error":
		return refused(err, "%s refuses the TLS of this client, which may lack a certificate; set %s", d.place, certSetting)
	case errors.As(err, &file):
		return refused(err, "a TLS file named in %s cannot be read", urlSetting)
	}
	return fmt.Errorf("rabbitmq: cannot connect to %s; check that it runs there, or %s: %w", d.place, urlSetting, err)
}

// explainLogin is for what happens between the first word and the last of the
// login.
func (d *dialer) explainLogin(err error, said *amqp.Error, user string, silent bool) error {
	switch {
	case !said.Server && remoteAlert(said.Reason):
		// With TLS 1.3 the verdict on a client's certificate comes after the handshake.
		return refused(err, "%s refuses the TLS of this client, which may lack a certificate; set %s", d.place, certSetting)
	case !said.Server && alien(said.Reason):
		return refused(err, "%s does not speak AMQP 0-9-1, so it is no RabbitMQ; check host and port (usually 5672) in %s", d.place, urlSetting)
	case said.Code == amqp.AccessRefused && !said.Server && !silent:
		return d.noLogin(errors.New("no answer in time"))
	case errors.Is(err, amqp.ErrVhost) && !said.Server:
		return fmt.Errorf("rabbitmq: %s hung up before it opened the virtual host", d.place)
	case said.Code == amqp.AccessRefused:
		hint := ""
		if user == "guest" {
			hint = "; guest may log in from the broker's own machine only"
		}
		return refused(err, "%s does not let user %q in; check user and password in %s%s", d.place, user, urlSetting, hint)
	case said.Code == amqp.NotAllowed && !strings.Contains(said.Reason, "limit"):
		return refused(err, "user %q may not use virtual host %q of %s; check the path of %s, "+
			"or grant it with: rabbitmqctl set_permissions", user, d.uri.Vhost, d.place, urlSetting)
	case !said.Server:
		return d.noLogin(err)
	}
	return fmt.Errorf("rabbitmq: %s broke off the login: %w", d.place, err)
}

// noLogin is for what takes connections and is silent, or hangs up: a broker
// that just starts or stops does so too.
func (d *dialer) noLogin(err error) error {
	return fmt.Errorf("rabbitmq: %s takes connections but no login; if it does not just start, "+
		"it is no RabbitMQ, or a TLS port that wants amqps://: check %s: %w", d.place, urlSetting, err)
}

// explainExchange says why the exchange could not be declared.
func (o Options) explainExchange(err error) error {
	switch {
	case err == nil:
		return nil
	case code(err) == amqp.PreconditionFailed:
		return refused(err, "exchange %q exists with other settings; it must be a durable topic exchange: "+
			"name another one in %s, or delete it", o.Exchange, exchangeSetting)
	case code(err) == amqp.AccessRefused:
		return refused(err, "exchange %q (%s) is not there and the user may not make it; grant configure, write and read "+
			"with: rabbitmqctl set_permissions", o.Exchange, exchangeSetting)
	}
	return fmt.Errorf("rabbitmq: cannot declare exchange %q: %w", o.Exchange, err)
}

// explainQueue says why a group's queue could not be declared.
func (o Options) explainQueue(err error, queue string) error {
	switch {
	case err == nil:
		return nil
	case code(err) == amqp.PreconditionFailed:
		return refused(err, "queue %q exists with other settings than those of a %s queue; set %s to what it is, "+
			"or drain it and run: rabbitmqctl delete_queue %s", queue, o.QueueType, queueSetting, queue)
	case code(err) == amqp.AccessRefused:
		return refused(err, "queue %q is not there and the user may not make it; grant configure, write and read "+
			"with: rabbitmqctl set_permissions", queue)
	}
	return fmt.Errorf("rabbitmq: cannot declare queue %q: %w", queue, err)
}

// explainBind says why a queue could not be bound.
func (o Options) explainBind(err error, queue string) error {
	switch {
	case err == nil:
		return nil
	case code(err) == amqp.AccessRefused:
		return refused(err, "the user may not bind queue %q to exchange %q; grant write on the queue and read on the exchange "+
			"with: rabbitmqctl set_permissions", queue, o.Exchange)
	}
	return fmt.Errorf("rabbitmq: cannot bind queue %q: %w", queue, err)
}

// explainClose says why the broker closed a channel or a connection that was in
// use for publishing.
func (o Options) explainClose(err *amqp.Error) error {
	switch {
	case err == nil:
		return fmt.Errorf("rabbitmq: connection closed before the confirm; the message may be stored, send it again with the same id")
	case sizeLimit(err.Reason) > 0:
		return &sizeError{limit: sizeLimit(err.Reason), cause: err}
	case err.Code == amqp.AccessRefused:
		return o.explainWrite(err)
	case err.Code == amqp.NotFound:
		return fmt.Errorf("rabbitmq: exchange %q is gone; it is declared again: %w", o.Exchange, err)
	}
	return fmt.Errorf("rabbitmq: connection lost before the confirm; the message may be stored, send it again with the same id: %w", err)
}

func (o Options) explainWrite(err error) error {
	return refused(err, "the user may not publish to exchange %q (%s); grant write on it with: rabbitmqctl set_permissions", o.Exchange, exchangeSetting)
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

// sizeLimit reads the limit out of how the broker refuses a message for its size;
// 0 where the reason is another one.
func sizeLimit(reason string) int {
	_, after, found := strings.Cut(reason, "message size ")
	_, limit, larger := strings.Cut(after, "max size ")
	if !found || !larger {
		return 0
	}
	if end := strings.IndexFunc(limit, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		limit = limit[:end]
	}
	n, err := strconv.Atoi(limit)
	if err != nil {
		return 0
	}
	return n
}
