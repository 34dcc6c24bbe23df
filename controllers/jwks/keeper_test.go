// SPDX-License-Identifier: Apache-2.0

package jwks

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"weir.dev/weir/controllers/config"
)

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// TestRotation: keys are asked for again as Cache-Control says, unchanged ones by
// ETag, and the last good ones hold while the issuer is away.
func TestRotation(t *testing.T) {
	one, two := keySet(t, "one"), keySet(t, "two")
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // of what the issuer answers
		body, etag, away, unchanged := one, `"1"`, false, 0
		client := &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			if away {
				return nil, errors.New("away")
			}
			res := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Cache-Control": {"public, max-age=600"}, "Etag": {etag}}, Body: io.NopCloser(bytes.NewReader(body))}
			if r.Header.Get("If-None-Match") == etag {
				unchanged++
				res.StatusCode, res.Body = http.StatusNotModified, http.NoBody
			}
			return res, nil
		})}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		k := New(Options{Providers: []config.JWTProvider{{Name: "idp", JWKS: config.JWKS{URL: "https://idp.example/k"}}}, Client: client, Log: slog.New(slog.DiscardHandler)})
		go func() { _ = k.Run(ctx) }()
		kid := func() string {
			synctest.Wait()
			if keys := k.Keys()["idp"]; len(keys) == 1 {
				return keys[0].GetKid()
			}
			return ""
		}
		if got := kid(); got != "one" {
			t.Fatalf("got %q at first", got)
		}
		<-k.Changed()
		time.Sleep(21 * time.Minute)
		got := kid()
		mu.Lock()
		if got != "one" || unchanged != 2 {
			t.Errorf("got %q, %d times unchanged", got, unchanged)
		}
		away = true
		mu.Unlock()
		time.Sleep(time.Hour)
		if got := kid(); got != "one" {
			t.Errorf("got %q while the issuer is away", got)
		}
		mu.Lock()
		away, body, etag = false, two, `"2"`
		mu.Unlock()
		time.Sleep(2 * time.Minute)
		if got := kid(); got != "two" {
			t.Errorf("got %q after the rotation", got)
		}
		<-k.Changed()
	})
}

func keySet(t *testing.T, kid string) []byte {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: k.Public(), KeyID: kid}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestNext: replicas that start at any time ask at the same instants.
func TestNext(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	for _, every := range []time.Duration{MinInterval, usual, MaxInterval} {
		first := next(start, every, "https://idp.example/k")
		for _, d := range []time.Duration{0, time.Second, first.Sub(start) - 1} {
			got := next(start.Add(d), every, "https://idp.example/k")
			if !got.Equal(first) || got.Sub(start) > every || !got.After(start.Add(d)) {
				t.Errorf("every %s, %s later: got %s, want %s", every, d, got, first)
			}
		}
	}
}

func TestInterval(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": usual, "no-store": usual, "max-age=1": MinInterval, "public, Max-Age=600": 10 * time.Minute, "max-age=999999": MaxInterval, "max-age=x": usual,
	} {
		if got := interval(maxAge(http.Header{"Cache-Control": {value}})); got != want {
			t.Errorf("%q: got %s, want %s", value, got, want)
		}
	}
}
