package jetstream

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/33god/bloodbank/internal/testenv"
)

// writeNKey makes an nkey user and returns its public key.
func writeNKey(file string) (string, error) {
	user, err := nkeys.CreateUser()
	if err != nil {
		return "", err
	}
	seed, err := user.Seed()
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(file, seed, 0o600); err != nil {
		return "", err
	}
	return user.PublicKey()
}

// operator is the root of a tree of JWTs, with one account that has JetStream.
type operator struct {
	config  string // of the server
	account nkeys.KeyPair
}

func newOperator(t *testing.T) operator {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	pair := func(make func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string) {
		t.Helper()
		k, err := make()
		must(err)
		public, err := k.PublicKey()
		must(err)
		return k, public
	}
	root, rootPublic := pair(nkeys.CreateOperator)
	account, accountPublic := pair(nkeys.CreateAccount)
	_, systemPublic := pair(nkeys.CreateAccount)
	claims := jwt.NewOperatorClaims(rootPublic)
	claims.SystemAccount = systemPublic
	operatorJWT, err := claims.Encode(root)
	must(err)
	mine := jwt.NewAccountClaims(accountPublic)
	mine.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: -1, MemoryStorage: -1, Streams: -1, Consumer: -1}
	accountJWT, err := mine.Encode(root)
	must(err)
	systemJWT, err := jwt.NewAccountClaims(systemPublic).Encode(root)
	must(err)
	return operator{account: account, config: fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: { %s: %s, %s: %s }\n",
		operatorJWT, systemPublic, accountPublic, accountJWT, systemPublic, systemJWT)}
}

// creds writes a .creds file of a user that ends at that time; zero is never.
func (o operator) creds(t *testing.T, ends time.Time) string {
	t.Helper()
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := user.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	claims := jwt.NewUserClaims(public)
	if !ends.IsZero() {
		claims.Expires = ends.Unix()
	}
	token, err := claims.Encode(o.account)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "bb.creds")
	write(t, file, string(text))
	return file
}

func TestCredsFile(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, o testenv.NATSOptions) {
		t.Parallel()
		op := newOperator(t)
		o.Config = op.config
		s := testenv.NATS(t, o)
		confirm(t, dial(t, DialOptions{URL: s.URL(), CredsFile: op.creds(t, time.Time{})}), 1)
		stranger := newOperator(t).creds(t, time.Time{})
		refuseDial(t, DialOptions{URL: s.URL(), CredsFile: stranger}, "the credentials of", stranger)
		refuseDial(t, DialOptions{URL: s.URL(), CredsFile: op.creds(t, time.Now().Add(-time.Hour))}, "the credentials of")
		refuseDial(t, DialOptions{URL: s.URL()}, "without credentials")
	})
}

// certificates are PEM files: an authority, and certificates of a server on the
// loopback and of a client.
type certificates struct{ ca, server, serverKey, client, clientKey string }

func newCertificates(t *testing.T) certificates {
	t.Helper()
	var c certificates
	caKey, caPEM, _, ca := certificate(t, nil, nil)
	c.ca = caPEM
	_, c.server, c.serverKey, _ = certificate(t, ca, caKey)
	_, c.client, c.clientKey, _ = certificate(t, ca, caKey)
	return c
}

func certificate(t *testing.T, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (key *ecdsa.PrivateKey, certPEM, keyPEM string, cert *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	number, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	cert = &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		NotBefore: time.Now().Add(-time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		KeyUsage:    x509.KeyUsageDigitalSignature,
	}
	if ca == nil {
		cert.IsCA, cert.BasicConstraintsValid, cert.KeyUsage = true, true, x509.KeyUsageCertSign
		ca, caKey = cert, key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, ca, &key.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	keyPEM = string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}))
	return key, certPEM, keyPEM, cert
}

func TestTLS(t *testing.T) {
	t.Parallel()
	c := newCertificates(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		write(t, filepath.Join(dir, name), text)
		return filepath.Join(dir, name)
	}
	ca, client, key := file("ca", c.ca), file("client", c.client), file("key", c.clientKey)
	otherCA := file("other", newCertificates(t).ca)
	eachVersion(t, func(t *testing.T, o testenv.NATSOptions) {
		t.Parallel()
		plain := testenv.NATS(t, o)
		o.Files = map[string]string{"ca.pem": c.ca, "server.pem": c.server, "key.pem": c.serverKey}
		o.Config = `tls { cert_file: "%DIR%/server.pem", key_file: "%DIR%/key.pem" }`
		s := testenv.NATS(t, o)
		o.Config = `tls { cert_file: "%DIR%/server.pem", key_file: "%DIR%/key.pem", ca_file: "%DIR%/ca.pem", verify: true }`
		strict := testenv.NATS(t, o)
		confirm(t, dial(t, DialOptions{URL: "tls://" + s.Addr(), CAFile: ca}), 1)
		confirm(t, dial(t, DialOptions{URL: strict.URL(), CAFile: ca, CertFile: client, KeyFile: key}), 1)
		refuseDial(t, DialOptions{URL: s.URL()}, "not trusted", "bus.ca")
		refuseDial(t, DialOptions{URL: "tls://" + s.Addr(), CAFile: otherCA}, "not trusted", "bus.ca")
		refuseDial(t, DialOptions{URL: "tls://" + plain.Addr(), CAFile: ca}, "does not speak TLS", "nats://")
		refuseDial(t, DialOptions{URL: strict.URL(), CAFile: ca}, "client's certificate", "bus.cert")
	})
}
