package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/33god/bloodbank"
)

// explain turns a fault into an error that says what to do. What already is a
// [bloodbank.Error] passes. No message of the driver or the server used here
// holds a password: the one about the URL itself never gets this far.
func (s *Store) explain(ctx context.Context, doing string, err error) error {
	var known *bloodbank.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	if ctx.Err() != nil {
		return bloodbank.Errorf(bloodbank.CodeTimeout, "could not %s PostgreSQL at %s in the time given: %w", doing, s.place, errors.Join(ctx.Err(), err))
	}
	code, advice := s.advise(err)
	return bloodbank.Errorf(code, "cannot %s PostgreSQL at %s: %s: %w", doing, s.place, advice, err)
}

func (s *Store) advise(err error) (bloodbank.Code, string) {
	var fault *pgconn.PgError
	if errors.As(err, &fault) {
		return s.adviseFault(fault)
	}
	var (
		unknown *x509.UnknownAuthorityError
		name    *x509.HostnameError
		cert    *tls.CertificateVerificationError
		lookup  *net.DNSError
		connect *pgconn.ConnectError
	)
	switch {
	case errors.Is(err, errSilent), errors.Is(err, context.DeadlineExceeded):
		return bloodbank.CodeTimeout, "it does not answer; check the server, or allow it more time"
	case errors.As(err, &unknown), errors.As(err, &name), errors.As(err, &cert):
		return bloodbank.CodeInvalid, "its certificate is not trusted; name its authority with sslrootcert in " + setting
	case errors.As(err, &lookup) && lookup.IsNotFound:
		return bloodbank.CodeUnavailable, "there is no host of that name; check " + setting
	case errors.As(err, &connect):
		return bloodbank.CodeUnavailable, "it cannot be reached; start it, or check host, port and sslmode in " + setting
	}
	return bloodbank.CodeUnavailable, "the connection was lost; try again"
}

// adviseFault goes by SQLSTATE, see the appendix of PostgreSQL's manual.
func (s *Store) adviseFault(f *pgconn.PgError) (bloodbank.Code, string) {
	switch f.Code {
	case "28000":
		if strings.Contains(f.Message, "no encryption") && !strings.Contains(f.Message, "rejects") {
			return bloodbank.CodeInvalid, "it lets this user in over TLS alone, or not at all; set sslmode=require in " + setting + ", or correct its pg_hba.conf"
		}
		fallthrough
	case "28P01":
		return bloodbank.CodeUnauthorized, "it refuses the user or the password; check both in " + setting + ", and the server's pg_hba.conf"
	case "3D000":
		return bloodbank.CodeInvalid, "there is no such database; create it (createdb), or correct " + setting
	case "42501":
		return bloodbank.CodeForbidden, "the user of " + setting + " lacks a permission; run as its administrator: CREATE SCHEMA IF NOT EXISTS " + s.schema +
			" AUTHORIZATION <user>, or GRANT what the message names"
	case "25006":
		return bloodbank.CodeUnavailable, "it takes no writes (a standby, or default_transaction_read_only); name the primary in " + setting
	case "53100":
		return bloodbank.CodeStorageFull, "its disk is full; make room"
	case "53300":
		return bloodbank.CodeUnavailable, "it has no connection left; raise its max_connections, or run fewer clients"
	case "57014":
		return bloodbank.CodeTimeout, "its statement_timeout ended the work; raise it for the user of " + setting
	case "55P03":
		return bloodbank.CodeTimeout, "its lock_timeout ended the wait for another process; raise it for the user of " + setting
	case "57P03":
		return bloodbank.CodeUnavailable, "it is starting up or shutting down; try again"
	case "3F000", "42P01", "42883", "42703":
		return bloodbank.CodeUnavailable, "tables of ours are missing in the schema " + s.schema + "; restart bb with another search_path in " + setting + ", or drop the schema and replay the bus"
	case "42P07", "42723", "42710":
		return bloodbank.CodeInvalid, "the schema " + s.schema + " holds tables of another program; choose another with ?search_path=name in " + setting
	case "XX001", "XX002":
		return bloodbank.CodeUnavailable, "its files are damaged; restore them, or drop the schema " + s.schema + " and replay the bus"
	}
	switch f.Code[:min(2, len(f.Code))] {
	case "08", "53", "57", "58", "25", "40":
		return bloodbank.CodeUnavailable, "it is down, short of something, or busy; try again"
	case "54":
		return bloodbank.CodeTooLarge, "a value is larger than the database takes"
	}
	return bloodbank.CodeInternal, "unexpected fault"
}
