package jetstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// unknownSync is the servers' own default of sync_interval.
	unknownSync = 2 * time.Minute
	// syncMargin is for the sync itself, on a slow disk.
	syncMargin = 30 * time.Second
	// defaultAckWait is what Consumer.AckWait says when it is zero.
	defaultAckWait = 30 * time.Second
)

// DialOptions say where the NATS servers are and what their confirms are worth.
// The zero value of each field but URL means its default.
type DialOptions struct {
	// URL is nats://host:port, or tls:// to demand encryption; several servers
	// of one cluster are separated by commas, the others are learnt from them.
	// user:password@ or token@ before the host work. No secret of it leaves the
	// package.
	URL string
	// CredsFile is a .creds file (JWT and seed), NKeyFile one with an nkey seed.
	// Both are read anew at each connect.
	CredsFile, NKeyFile string
	// User and Password, or Token, are used where the URL has none.
	User, Password, Token string
	// CAFile has the certificates (PEM) that a server's must be signed by;
	// default: the system's. CertFile and KeyFile are the client's own. Each of
	// them demands encryption.
	CAFile, CertFile, KeyFile string
	// InboxPrefix comes before the subjects of answers, for a user who may not
	// subscribe to the default, "_INBOX".
	InboxPrefix string
	// Replicas of the stream. 0: three for a new stream on a cluster, else one; a
	// stream that is there keeps what it has. A stream that has fewer than asked
	// for gets more, never fewer. A cluster that has no three servers up takes no
	// new stream until then, unless this is 1.
	Replicas int
	// SyncInterval is the servers' sync_interval, which they do not tell: how
	// long a confirmed message may be in memory only. Default 2 min, theirs.
	// Features.SafeDelay is this and 30 s.
	SyncInterval time.Duration
	// SyncAlways says that the servers have sync_interval: always, so that a
	// confirm means fsynced and SafeDelay is 0. Believed, not checked.
	SyncAlways bool
	// DuplicateWindow is how long the servers remember ids to drop a second
	// message; default 1 h. It must reach as far back as the log sends again
	// after a lost connection, so make it as long as the longest outage after
	// which consumers beside the recorder shall see no duplicate (the recorder
	// drops them at any time). It costs the servers some 150 bytes of memory per
	// id: at 100 events/s 54 MB for an hour, 1.3 GB for a day. At least SafeDelay.
	DuplicateWindow time.Duration
	// Window is how many messages may be unconfirmed; default 512. A message
	// counts once per 64 KiB.
	Window int
	// ConfirmTimeout is when an unconfirmed message is reported as failed;
	// default 10 s.
	ConfirmTimeout time.Duration
	// MaxMessage is the largest Message.Data in bytes; default 8 MiB less 1 KiB.
	// The lower limits of the server (max_payload, 1 MiB by default) and of the
	// stream hold as soon as they are known.
	MaxMessage int
	// MaxAge is how long messages stay at the least in a stream that bb made;
	// default 72 h. Older ones go only once every durable consumer has
	// acknowledged them. Negative: they stay for ever. A stream that others made
	// is never purged.
	MaxAge time.Duration
	// KeepFor names groups that must exist before anything is purged.
	KeepFor []string
	// PurgeEvery is how often the janitor looks; default 1 min.
	PurgeEvery time.Duration
	// DialTimeout bounds connecting to one server and each request to it;
	// default 5 s.
	DialTimeout time.Duration
	// ReconnectMax is the longest pause between attempts; default 10 s.
	ReconnectMax time.Duration
	// Logger gets what the driver has to say; default: nothing.
	Logger *slog.Logger

	// ackWait stands for Consumer.AckWait when that is zero; tests shorten it.
	ackWait time.Duration
	// probe looks, and makes and changes nothing.
	probe bool
}

func (o DialOptions) withDefaults() DialOptions {
	def(&o.SyncInterval, unknownSync)
	def(&o.DuplicateWindow, time.Hour)
	def(&o.Window, 512)
	def(&o.ConfirmTimeout, 10*time.Second)
	def(&o.MaxMessage, 8<<20-headroom)
	def(&o.MaxAge, 72*time.Hour)
	def(&o.PurgeEvery, time.Minute)
	def(&o.DialTimeout, 5*time.Second)
	def(&o.ReconnectMax, 10*time.Second)
	def(&o.ackWait, defaultAckWait)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func (o DialOptions) safeDelay() time.Duration {
	if o.SyncAlways {
		return 0
	}
	return o.SyncInterval + syncMargin
}

// common is what both kinds of Bus understand.
func (o DialOptions) common() Options {
	return Options{
		Window: o.Window, ConfirmTimeout: o.ConfirmTimeout, MaxMessage: o.MaxMessage,
		DuplicateWindow: o.DuplicateWindow, MaxAge: o.MaxAge, KeepFor: o.KeepFor, PurgeEvery: o.PurgeEvery,
		StartTimeout: o.DialTimeout, Logger: o.Logger, SyncInterval: o.SyncInterval, SyncAlways: o.SyncAlways,
	}
}

// validate names every bad field at once.
func (o DialOptions) validate() error {
	var errs []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("jetstream: "+format, args...))
		}
	}
	_, err := servers(o.URL)
	refuse(err != nil, "%w", err)
	refuse(o.CredsFile != "" && o.NKeyFile != "", "CredsFile and NKeyFile are both set; use one")
	refuse(o.User != "" && o.Token != "", "User and Token are both set; use one")
	refuse((o.CertFile == "") != (o.KeyFile == ""), "CertFile and KeyFile go together; one is missing")
	refuse(o.Replicas < 0 || o.Replicas > 5, "Replicas is %d; use 0 to 5", o.Replicas)
	refuse(o.SyncInterval < 0, "SyncInterval is %v; it must be positive", o.SyncInterval)
	refuse(o.DuplicateWindow < o.safeDelay() || o.DuplicateWindow < time.Second,
		"DuplicateWindow is %v; it must be at least SafeDelay (%v), because the log sends again what is younger", o.DuplicateWindow, o.safeDelay())
	refuse(o.Window < 1 || o.Window > math.MaxUint16, "Window is %d; use 1 to %d", o.Window, math.MaxUint16)
	refuse(o.MaxMessage < 1<<10 || o.MaxMessage > 48<<20, "MaxMessage is %d; use 1 KiB to 48 MiB", o.MaxMessage)
	refuse(o.ConfirmTimeout < 0 || o.DialTimeout < 0 || o.ReconnectMax < 0 || o.PurgeEvery < 0,
		"ConfirmTimeout is %v, DialTimeout %v, ReconnectMax %v and PurgeEvery %v; they must be positive",
		o.ConfirmTimeout, o.DialTimeout, o.ReconnectMax, o.PurgeEvery)
	return errors.Join(errs...)
}

// servers takes the URL apart. Its errors quote nothing: it may hold a password.
func servers(list string) ([]*url.URL, error) {
	var all []*url.URL
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimSpace(one)
		if one == "" {
			continue
		}
		if !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		u, err := url.Parse(one)
		if err != nil || u.Hostname() == "" {
			return nil, errors.New("the URL cannot be read; write nats://user:password@host:port (or tls://), servers " +
				"separated by commas, special characters of user and password percent-encoded")
		}
		if u.Scheme != "nats" && u.Scheme != "tls" {
			return nil, fmt.Errorf("the URL begins with %s://; use nats:// or tls://", u.Scheme)
		}
		all = append(all, u)
	}
	if len(all) == 0 {
		return nil, errors.New("the URL is empty; write nats://host:port")
	}
	return all, nil
}

// place is the servers' address for people: no password, no user.
func place(all []*url.URL) string {
	var at []string
	for _, u := range all {
		at = append(at, u.Scheme+"://"+u.Host)
	}
	return strings.Join(at, ",")
}

// options are the settings of the connection that come from o. A file that
// cannot be used is an error here and now, not at some reconnect.
func (o DialOptions) options(all []*url.URL) ([]nats.Option, error) {
	set := []nats.Option{
		func(n *nats.Options) error {
			for _, u := range all {
				n.Servers = append(n.Servers, u.String())
			}
			return nil
		},
		nats.Timeout(o.DialTimeout),
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.RetryOnFailedConnect(true),
		// The right credentials may come with the servers' next configuration.
		nats.IgnoreAuthErrorAbort(),
		nats.CustomReconnectDelay(func(attempt int) time.Duration {
			return backoff(attempt, 100*time.Millisecond, o.ReconnectMax)
		}),
	}
	if o.InboxPrefix != "" {
		set = append(set, nats.CustomInboxPrefix(o.InboxPrefix))
	}
	secret, err := o.credentials(all)
	if err != nil {
		return nil, err
	}
	encrypt, err := o.tls()
	if err != nil {
		return nil, err
	}
	return append(append(set, secret...), encrypt...), nil
}

func (o DialOptions) credentials(all []*url.URL) ([]nats.Option, error) {
	// Servers that are learnt later have no user in their URL.
	for _, u := range all {
		if u.User == nil || o.User != "" || o.Token != "" {
			continue
		}
		if password, ok := u.User.Password(); ok {
			o.User, o.Password = u.User.Username(), password
		} else {
			o.Token = u.User.Username()
		}
	}
	var set []nats.Option
	if o.User != "" {
		set = append(set, nats.UserInfo(o.User, o.Password))
	}
	if o.Token != "" {
		set = append(set, nats.Token(o.Token))
	}
	if o.CredsFile != "" {
		if _, err := os.ReadFile(o.CredsFile); err != nil {
			return nil, fmt.Errorf("jetstream: CredsFile cannot be read (bus.credentials, BB_BUS_CREDENTIALS): %w", err)
		}
		set = append(set, nats.UserCredentials(o.CredsFile))
	}
	if o.NKeyFile != "" {
		key, err := nats.NkeyOptionFromSeed(o.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("jetstream: NKeyFile %s holds no seed that can be read", o.NKeyFile)
		}
		set = append(set, key)
	}
	return set, nil
}

func (o DialOptions) tls() ([]nats.Option, error) {
	if o.CAFile == "" && o.CertFile == "" {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("jetstream: CAFile cannot be read (bus.ca, BB_BUS_CA): %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("jetstream: CAFile %s holds no certificate in PEM", o.CAFile)
		}
	}
	if o.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("jetstream: CertFile and KeyFile cannot be used (bus.cert, BB_BUS_CERT; bus.key, BB_BUS_KEY): %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return []nats.Option{nats.Secure(config)}, nil
}
