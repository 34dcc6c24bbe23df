// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/store/redis/redistest"
)

// authority is a CA that a test owns.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	der, a.key = a.sign(a.cert)
	a.cert, _ = x509.ParseCertificate(der)
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

func (a *authority) sign(c *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	signer := a.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

// pair returns a certificate and key in PEM.
func (a *authority) pair() (cert, key []byte) {
	der, private := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "redis"}, DNSNames: []string{"redis.test"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	raw, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})
}

func TestMutualTLSWithUser(t *testing.T) {
	a := newAuthority(t)
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, key := a.pair()
	server := redistest.Start(t, "--port", "0", "--tls-port", "PORT", "--tls-auth-clients", "yes",
		"--tls-cert-file", file("cert", cert), "--tls-key-file", file("key", key), "--tls-ca-cert-file", file("ca", a.pem),
		// What docs give a namespace: its keys, and no more commands than needed.
		"--user", "shop", "on", ">secret", "resetkeys", "~weir:test:shop:*", "-@all", "+eval", "+evalsha", "+get", "+set", "+time", "+ping")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.pem)
	client, err := tls.X509KeyPair(a.pair())
	if err != nil {
		t.Fatal(err)
	}
	ops := []limiter.Op{{ID: "p/l", Rule: mustRule(t, limiter.SlidingWindow, 5, 60, 0), Key: limiter.Key{1}}}
	for name, tc := range map[string]struct {
		edit func(*Options, *Credentials)
		ok   bool
	}{
		"as it should be":          {func(*Options, *Credentials) {}, true},
		"no client certificate":    {func(_ *Options, c *Credentials) { c.Certificate = nil }, false},
		"another CA":               {func(o *Options, _ *Credentials) { o.TLS.RootCAs = x509.NewCertPool() }, false},
		"another name":             {func(o *Options, _ *Credentials) { o.TLS.ServerName = "other.test" }, false},
		"another password":         {func(_ *Options, c *Credentials) { c.Password = "wrong" }, false},
		"plain TCP":                {func(o *Options, _ *Credentials) { o.TLS = nil }, false},
		"keys of another's domain": {func(o *Options, _ *Credentials) { o.KeyPrefix = "weir:test:other" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			opts := options(server.Addr)
			opts.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: "redis.test"}
			creds := Credentials{Username: "shop", Password: "secret", Certificate: &client}
			tc.edit(&opts, &creds)
			s := New(opts, &creds)
			defer s.Close()
			err := s.Take(t.Context(), ops)
			if tc.ok && err != nil || !tc.ok && !errors.Is(err, limiter.ErrUnavailable) {
				t.Errorf("Take: %v", err)
			}
		})
	}
}
