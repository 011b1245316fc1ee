package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/33god/bloodbank/config"
)

func writeFile(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// selfSigned makes a certificate and its key as PEM files.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{}, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		writeFile(t, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

func TestBrokerTLS(t *testing.T) {
	t.Parallel()
	cert, key := selfSigned(t)
	c, err := brokerTLS(config.Bus{CA: cert, Cert: cert, Key: key})
	if err != nil || c.RootCAs == nil || len(c.Certificates) != 1 {
		t.Errorf("got %+v, %v", c, err)
	}
	if c, err := brokerTLS(config.Bus{}); c != nil || err != nil {
		t.Errorf("without settings: %+v, %v", c, err)
	}
	for want, b := range map[string]config.Bus{
		"cannot read bus.ca":  {CA: "/no/such/file"},
		"holds no certificat": {CA: key},
		"BB_BUS_CERT":         {Cert: cert, Key: cert},
	} {
		if _, err := brokerTLS(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// A login file is read each time it is needed.
func TestRabbitLoginChanges(t *testing.T) {
	t.Parallel()
	if rabbitLogin("") != nil {
		t.Error("a login without a file")
	}
	path := writeFile(t, "login", []byte("me:a:b\n"))
	login := rabbitLogin(path)
	if user, password := login(); user != "me" || password != "a:b" {
		t.Errorf("%q %q", user, password)
	}
	if err := os.WriteFile(path, []byte("you:new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if user, password := login(); user != "you" || password != "new" {
		t.Errorf("%q %q", user, password)
	}
}
