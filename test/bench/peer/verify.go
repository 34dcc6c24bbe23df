// SPDX-License-Identifier: Apache-2.0

//go:build linux

package peer

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Features are what Verify has seen a peer do.
type Features struct {
	// Fields are the response fields that tell about the limit.
	Fields []string
	// RetryAfter is on denials.
	RetryAfter bool
}

// Verify sends a peer a few requests and returns an error unless it answers with
// what the origin has, passes exactly Tight requests of a client and denies the
// others with 429, on a connection that is kept, counts another client by itself,
// appends to X-Forwarded-For, and counts requests in its metrics.
func (p *Peer) Verify(ctx context.Context) (Features, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	c := &caller{http: &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}}
	defer c.http.CloseIdleConnections()
	before, err := p.counted(ctx, c)
	if err != nil {
		return Features{}, err
	}
	f, err := p.verifyOpen(ctx, c)
	if err != nil {
		return f, err
	}
	if err := p.verifyDenying(ctx, c, &f); err != nil {
		return f, err
	}
	after, err := p.counted(ctx, c)
	if err != nil {
		return f, err
	}
	if after-before < 2*Tight {
		return f, fmt.Errorf("its metrics have gone from %d to %d requests", before, after)
	}
	return f, nil
}

func (p *Peer) verifyOpen(ctx context.Context, c *caller) (Features, error) {
	for _, address := range []string{p.Open, p.Spliced} {
		if address == "" {
			continue
		}
		small, err := c.get(ctx, "http://"+address+"/small", "verify")
		if err != nil {
			return Features{}, err
		}
		if small.status != http.StatusOK || small.body != Small {
			return Features{}, fmt.Errorf("it answered %d, %q in place of the origin's answer", small.status, small.body)
		}
	}
	r, err := c.get(ctx, "http://"+p.Open+"/forwarded", "verify")
	if err != nil {
		return Features{}, err
	}
	// Envoy writes the node's address in place of a loopback one.
	if _, err := netip.ParseAddr(r.body); err != nil {
		return Features{}, fmt.Errorf("the origin got X-Forwarded-For %q", r.body)
	}
	var f Features
	for name := range r.header {
		if strings.Contains(strings.ToLower(name), "ratelimit") {
			f.Fields = append(f.Fields, name)
		}
	}
	slices.Sort(f.Fields)
	return f, nil
}

func (p *Peer) verifyDenying(ctx context.Context, c *caller, f *Features) error {
	url := "http://" + p.Denying + "/small"
	client := "verify-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	var statuses []int
	for i := range 2 * Tight {
		r, err := c.get(ctx, url, client)
		if err != nil {
			return err
		}
		statuses = append(statuses, r.status)
		if want := map[bool]int{true: http.StatusOK, false: http.StatusTooManyRequests}[i < Tight]; r.status != want {
			return fmt.Errorf("with a limit of %d it answered %v", Tight, statuses)
		}
		if r.close {
			return fmt.Errorf("it closes the connection with %d", r.status)
		}
		f.RetryAfter = r.header.Get("Retry-After") != ""
	}
	r, err := c.get(ctx, url, client+"-other")
	if err != nil {
		return err
	}
	if r.status != http.StatusOK {
		return fmt.Errorf("another client got %d: it does not count by client", r.status)
	}
	return nil
}

// counted is the sum of the counts of requests in the peer's metrics.
func (p *Peer) counted(ctx context.Context, c *caller) (int64, error) {
	r, err := c.get(ctx, p.Metrics, "")
	if err != nil {
		return 0, err
	}
	return count(p.Requests, r.body)
}

func count(requests *regexp.Regexp, body string) (int64, error) {
	var sum int64
	for _, m := range requests.FindAllStringSubmatch(body, -1) {
		n, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

type caller struct{ http *http.Client }

type reply struct {
	status int
	header http.Header
	body   string
	close  bool
}

func (c *caller) get(ctx context.Context, url, client string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return reply{}, err
	}
	if client != "" {
		req.Header.Set("X-Client-Id", client)
	}
	return c.do(req)
}

func (c *caller) do(req *http.Request) (reply, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(b), resp.Close}, err
}
