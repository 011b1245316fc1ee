package app

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/config"
)

// brokerTLS is what the configuration says about TLS to brokers; nil where it
// says nothing.
func brokerTLS(cfg config.Bus) (*tls.Config, error) {
	if cfg.CA == "" && cfg.Cert == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CA != "" {
		pem, err := os.ReadFile(cfg.CA)
		if err != nil {
			return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "cannot read bus.ca (BB_BUS_CA): %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "bus.ca (BB_BUS_CA): %s holds no certificate in PEM form", cfg.CA)
		}
	}
	if cfg.Cert != "" {
		pair, err := tls.LoadX509KeyPair(cfg.Cert, cfg.Key)
		if err != nil {
			return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "cannot use bus.cert and bus.key (BB_BUS_CERT, BB_BUS_KEY): %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// rabbitLogin reads user and password from a file of the form user:password at
// each connect, so that changed ones are taken up; nil where there is no file. A
// file that cannot be read gives an empty login, which the broker refuses.
func rabbitLogin(path string) func() (user, password string) {
	if path == "" {
		return nil
	}
	return func() (user, password string) {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", ""
		}
		user, password, _ = strings.Cut(strings.TrimSpace(string(text)), ":")
		return user, password
	}
}
