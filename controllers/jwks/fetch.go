// SPDX-License-Identifier: Apache-2.0

package jwks

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"weir.dev/weir/api/snapshot"
)

const (
	// MaxBytes of a JWK set.
	MaxBytes = 256 << 10

	attempt      = 10 * time.Second
	maxRedirects = 3
)

// NewClient returns what providers are asked with.
func NewClient() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	t.ResponseHeaderTimeout = attempt
	t.MaxResponseHeaderBytes = 64 << 10
	return &http.Client{Transport: t, Timeout: attempt}
}

// sameHost follows redirects that stay where the configuration has sent us.
func sameHost(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return errors.New("it redirects too often")
	}
	if first := via[0].URL; req.URL.Scheme != first.Scheme || req.URL.Host != first.Host {
		return errors.New("it redirects to another host, which is not followed: set jwks.url to where the keys are")
	}
	return nil
}

// answer of a provider.
type answer struct {
	keys []*snapshot.JWTKey // nil: as before
	etag string
	age  time.Duration // how long it may be kept; 0: it does not say
}

// Fetch asks a URL for its keys, once.
func Fetch(ctx context.Context, client *http.Client, url string) ([]*snapshot.JWTKey, error) {
	a, err := fetch(ctx, client, url, "")
	return a.keys, err
}

func fetch(ctx context.Context, client *http.Client, url, etag string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	req.Header.Set("User-Agent", "weir-operator")
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	c := *client
	c.CheckRedirect = sameHost
	res, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	a := answer{etag: res.Header.Get("ETag"), age: maxAge(res.Header)}
	if len(a.etag) > 1024 {
		a.etag = ""
	}
	switch {
	case res.StatusCode == http.StatusNotModified && etag != "":
		a.etag = etag
		return a, nil
	case res.StatusCode != http.StatusOK:
		return answer{}, fmt.Errorf("it answers %d", res.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, MaxBytes+1))
	if err != nil {
		return answer{}, fmt.Errorf("read its answer: %w", err)
	}
	if len(text) > MaxBytes {
		return answer{}, fmt.Errorf("its answer has more than %d bytes", MaxBytes)
	}
	a.keys, err = Parse(text)
	return a, err
}

// maxAge reads Cache-Control (RFC 9111 section 5.2.2); 0: it says nothing, or not to keep it.
func maxAge(h http.Header) time.Duration {
	for part := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if !strings.EqualFold(name, "max-age") {
			continue
		}
		if n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
			return time.Duration(n) * time.Second
		}
	}
	return 0
}
