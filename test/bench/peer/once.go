// SPDX-License-Identifier: Apache-2.0

//go:build linux

package peer

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/test/bench/process"
)

// Payment is the body of a request that is executed once for each Idempotency-Key, and
// PaymentPath where it goes. The origin answers each with another id.
const (
	Payment     = `{"amount":1999,"currency":"EUR","customer":"cus_NffrFeUfNV2Hib","description":"Order 6735, two items","capture":true}`
	PaymentPath = "/pay"
)

// Once are peers that keep the responses to requests in one Redis.
type Once struct {
	Setup
	Redis *Redis
}

// snapshot has one policy with the defaults of an IdempotencyPolicy, and a port without.
func (s Once) snapshot() *snapshot.Snapshot {
	const minute = 60_000
	policy := &snapshot.IdempotencyPolicy{
		Name: "payments", Generation: 1,
		Guarantee:    snapshot.Guarantee_GUARANTEE_AT_MOST_ONCE,
		KeySources:   []*snapshot.ContentSource{{Kind: &snapshot.ContentSource_Header{Header: "idempotency-key"}}},
		OnMissingKey: snapshot.OnMissingIdempotencyKey_ON_MISSING_IDEMPOTENCY_KEY_REJECT,
		MaxKeyBytes:  255,
		Scope:        []*snapshot.KeyPart{{Kind: &snapshot.KeyPart_Header{Header: "x-client-id"}}},
		Fingerprint:  &snapshot.Fingerprint{Method: true, Path: true, Query: true, Body: true},
		Lease:        minute / 2, Wait: minute / 12, UpstreamTimeout: minute, LateWindow: minute,
		MaxRequestBytes: 1 << 20, MaxResponseBytes: 256 << 10,
		ReleaseStatuses: []uint32{401, 407, 408, 425, 429},
		Retention:       24 * 60 * minute,
		Store:           "redis", FailurePolicy: snapshot.FailurePolicy_FAILURE_POLICY_CLOSED,
	}
	return &snapshot.Snapshot{
		Workload: &snapshot.Workload{Cluster: "local", Namespace: "bench", Key: "bench"},
		Stores: []*snapshot.Store{{Name: "redis", Redis: &snapshot.Redis{
			Mode: snapshot.Redis_MODE_STANDALONE, Addresses: []string{s.Redis.Address}, KeyPrefix: "weir",
		}}},
		IdempotencyPolicies: []*snapshot.IdempotencyPolicy{policy},
		NamespaceKeyVersion: "1",
		Ports:               []*snapshot.Port{{Number: portOpen, Protocol: snapshot.Protocol_PROTOCOL_HTTP, IdempotencyPolicy: policy.Name, Names: []string{"app/http"}}},
	}
}

// Weir starts a weir-sidecar with an IdempotencyPolicy and with notes on disk, as in a
// pod. All that are started have the same records.
func (s Once) Weir(ctx context.Context, name, binary string) (*Peer, error) {
	secret := filepath.Join(s.Folder, "namespace-key")
	if err := os.WriteFile(secret, []byte(strings.Repeat("benchmark", 4)), 0o600); err != nil {
		return nil, err
	}
	return s.launch(ctx, name, binary, s.snapshot(), "--secret-file", secret, "--notes-dir", filepath.Join(s.Folder, name+"-notes"))
}

// Naive starts the proxy in the folder naiveidem.
func (s Once) Naive(ctx context.Context, binary string) (*Peer, error) {
	addrs, err := addresses(2)
	if err != nil {
		return nil, err
	}
	p, err := process.Start(ctx, process.Command{
		Name: "naiveidem", Core: s.Core, Address: addrs[0], Log: filepath.Join(s.Folder, "naiveidem.log"),
		Args: []string{binary, "--redis", s.Redis.Address, "--upstream", s.Origin, "--once", addrs[0], "--plain", addrs[1]},
		Env:  []string{"GOMAXPROCS=1"},
	})
	if err != nil {
		return nil, err
	}
	return &Peer{Process: p, Version: "go-redis 9", Open: addrs[0], Spliced: addrs[1]}, nil
}

var paymentID = regexp.MustCompile(`^\{"id":"[0-9a-f]{32}","status":"succeeded"\}$`)

// VerifyOnce sends a peer a few requests, of the key prefix and others, and returns an
// error unless it executes each key once and replays the rest, with status and body,
// where in replays; and unless its port without a policy does neither.
func (p *Peer) VerifyOnce(ctx context.Context, prefix string, replays *Peer) error {
	c := &caller{http: &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}}
	defer c.http.CloseIdleConnections()
	pay := func(address, key string) (reply, error) { return c.pay(ctx, "http://"+address+PaymentPath, key) }
	seen := map[string]bool{}
	for i := range 3 {
		key := fmt.Sprintf("%s-%d", prefix, i)
		first, err := pay(p.Open, key)
		if err != nil {
			return err
		}
		if first.status != http.StatusCreated || !paymentID.MatchString(first.body) || seen[first.body] {
			return fmt.Errorf("it answered the first request of a key with %d, %q", first.status, first.body)
		}
		seen[first.body] = true
		again, err := pay(replays.Open, key)
		if err != nil {
			return err
		}
		if again.status != first.status || again.body != first.body || again.header.Get("Location") != first.header.Get("Location") {
			return fmt.Errorf("it answered the second request of a key with %d, %q, and the first with %d, %q", again.status, again.body, first.status, first.body)
		}
		if again.header.Get("Idempotent-Replayed") != "true" {
			return fmt.Errorf("it does not say of a replay that it is one: %v", again.header)
		}
		plain, err := pay(p.Spliced, key)
		if err != nil {
			return err
		}
		if plain.status != http.StatusCreated || seen[plain.body] {
			return fmt.Errorf("without a policy it answered with %d, %q", plain.status, plain.body)
		}
	}
	return nil
}

func (c *caller) pay(ctx context.Context, url, key string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(Payment))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("X-Client-Id", "bench")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	return c.do(req)
}
