// SPDX-License-Identifier: Apache-2.0

package jwks_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"

	"weir.dev/weir/controllers/config"
	"weir.dev/weir/controllers/jwks"
)

func ec(t *testing.T, kid string) jose.JSONWebKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: k.Public(), KeyID: kid, Use: "sig", Algorithm: "ES256"}
}

func set(t *testing.T, keys ...jose.JSONWebKey) []byte {
	t.Helper()
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParse(t *testing.T) {
	a, b := ec(t, "a"), ec(t, "b")
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	enc := ec(t, "enc")
	enc.Use = "enc"
	private, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	many := make([]jose.JSONWebKey, 17)
	for i := range many {
		many[i] = ec(t, fmt.Sprint(i))
	}
	for name, tc := range map[string]struct {
		text []byte
		want string // kids, or an error
	}{
		"sorted":       {set(t, b, a), "a b "},
		"once":         {set(t, a, b, a), "a b "},
		"others":       {set(t, a, enc, jose.JSONWebKey{Key: []byte("secret"), KeyID: "s"}, jose.JSONWebKey{Key: weak.Public(), KeyID: "w"}), "a "},
		"the public":   {set(t, jose.JSONWebKey{Key: private, KeyID: "p"}), "p "},
		"unknown type": {[]byte(strings.Replace(string(set(t, a)), `{"keys":[`, `{"keys":[{"kty":"PQ","kid":"x"},`, 1)), "a "},
		"none":         {set(t), "it has no key"},
		"only secrets": {set(t, jose.JSONWebKey{Key: []byte("secret"), KeyID: "s"}), "it has no key"},
		"too many":     {set(t, many...), "it has 17 keys"},
		"no JSON":      {[]byte("<html>"), "it is no JWK set"},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := jwks.Parse(tc.text)
			got := ""
			for _, k := range keys {
				got += k.GetKid() + " "
			}
			if err != nil {
				got = err.Error()
			}
			if !strings.HasPrefix(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// TestFetch: real servers, what they answer, and what is not followed.
func TestFetch(t *testing.T) {
	good := set(t, ec(t, "a"))
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(good) }))
	defer elsewhere.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/good", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(good) })
	mux.Handle("/here", http.RedirectHandler("/good", http.StatusFound))
	mux.Handle("/there", http.RedirectHandler(elsewhere.URL, http.StatusFound))
	mux.Handle("/loop", http.RedirectHandler("/loop", http.StatusFound))
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, jwks.MaxBytes+1)) })
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	server := httptest.NewTLSServer(mux)
	defer server.Close()
	for path, want := range map[string]string{
		"/good": "", "/here": "", "/there": "another host", "/loop": "too often", "/large": "more than 262144 bytes", "/broken": "it answers 502",
	} {
		_, err := jwks.Fetch(t.Context(), server.Client(), server.URL+path)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
	if _, err := jwks.Fetch(t.Context(), jwks.NewClient(), server.URL+"/good"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
}

// TestKeeper: an issuer that is away at first is asked again, and its keys arrive.
func TestKeeper(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	good := set(t, ec(t, "a"))
	var asked atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(good)
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	k := jwks.New(jwks.Options{
		Providers: []config.JWTProvider{{Name: "idp", JWKS: config.JWKS{URL: server.URL}}}, Client: server.Client(), Log: slog.New(slog.DiscardHandler),
	})
	ended := make(chan struct{})
	go func() { defer close(ended); _ = k.Run(ctx) }()
	defer func() { cancel(); <-ended; server.Client().CloseIdleConnections() }()
	<-k.Tried()
	select {
	case <-k.Changed():
	case <-time.After(20 * time.Second):
		t.Fatal("no keys")
	}
	if got := k.Keys()["idp"]; len(got) != 1 || got[0].GetKid() != "a" {
		t.Errorf("got %v", got)
	}
}
