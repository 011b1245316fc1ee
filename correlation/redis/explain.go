package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	goredis "github.com/redis/go-redis/v9"

	"github.com/33god/bloodbank"
)

// The settings that errors name: one URL, or the original's variables.
const (
	urlSetting  = "correlation.url (BB_CORRELATION)"
	addrSetting = urlSetting + ", or REDIS_HOST and REDIS_PORT"
	rights      = "get, set, setex, mget, del, expire, sadd, srem, smembers, scard, sscan, srandmember, multi, exec, ping, evalsha and eval on bloodbank:correlation:*"
)

// refused reports whether Redis does not let us in.
func refused(err error) bool {
	return goredis.IsAuthError(err) || goredis.IsPermissionError(err) || strings.Contains(err.Error(), "DB index is out of range")
}

// explain says what to do about an error of Redis, or of the way to it.
func (t *Tracker) explain(err error) error {
	text := err.Error()
	switch {
	case goredis.IsPermissionError(err) || strings.Contains(text, "can't run this command"):
		return bloodbank.Errorf(bloodbank.CodeForbidden, "Redis at %s does not let this user do that: %w; it needs %s", t.o.Addr, err, rights)
	case goredis.IsAuthError(err):
		return bloodbank.Errorf(bloodbank.CodeUnauthorized, "Redis at %s refuses the user or the password; correct it in %s, or in REDIS_PASSWORD", t.o.Addr, urlSetting)
	case strings.Contains(text, "DB index is out of range"):
		return bloodbank.Errorf(bloodbank.CodeInvalid, "Redis at %s has no database %d; correct it at the end of %s, or in REDIS_DB", t.o.Addr, t.o.DB, urlSetting)
	case goredis.IsOOMError(err):
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "Redis at %s is full: %w; raise its maxmemory, or shorten the time to live of links", t.o.Addr, err)
	case strings.HasPrefix(text, "READONLY"):
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "Redis at %s is a replica that cannot be written to; name its primary in %s", t.o.Addr, addrSetting)
	case answered(err):
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "Redis at %s refuses: %w", t.o.Addr, err)
	}
	return bloodbank.Errorf(bloodbank.CodeUnavailable, "%s: %w", t.unreached(err), err)
}

// unreached says what is wrong on the way to Redis, and what to correct.
func (t *Tracker) unreached(err error) string {
	at := "Redis at " + t.o.Addr
	var name *net.DNSError
	var record tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var network net.Error
	switch {
	case errors.As(err, &name):
		return "no host has the name of " + at + "; correct " + addrSetting
	case errors.As(err, &record):
		return at + " does not speak TLS; write redis:// instead of rediss:// in " + urlSetting
	case errors.As(err, &unknown), errors.As(err, &host):
		return at + " has a certificate that is not trusted for this name; have the system trust it, or correct " + urlSetting
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens for " + at + "; start it, or correct " + addrSetting
	case strings.Contains(err.Error(), "redis: can't parse"), strings.Contains(err.Error(), "redis: invalid reply"):
		return "what answers in the place of " + at + " is no Redis; correct " + addrSetting
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return at + " ends the connection; if it wants TLS write rediss:// in " + urlSetting
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		silent := at + " did not answer within " + t.o.Timeout.String()
		if t.o.TLS != nil {
			return silent + "; does it speak TLS? If not, write redis:// instead of rediss:// in " + urlSetting
		}
		return silent + "; is it running, and is its address right in " + addrSetting + "?"
	}
	return at + " does not work; is it running, and is its address right in " + addrSetting + "?"
}
