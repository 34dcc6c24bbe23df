// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/delivery"
	"weir.dev/weir/sidecar/filter/idempotency"
	"weir.dev/weir/sidecar/filter/ratelimit"
	"weir.dev/weir/sidecar/store/redis/redistest"
)

// recorded is podPolicy with an idempotency policy; addr is of its store's server,
// empty for none.
func recorded(addr string) *snapshot.Snapshot {
	s := podPolicy(50_000)
	store := &snapshot.Store{Name: "default"}
	if addr != "" {
		store.Redis = &snapshot.Redis{Mode: snapshot.Redis_MODE_STANDALONE, Addresses: []string{addr}, KeyPrefix: "weir"}
	}
	s.Stores = []*snapshot.Store{store}
	s.NamespaceKeyVersion = "1"
	s.IdempotencyPolicies = []*snapshot.IdempotencyPolicy{{
		Name: "once", Generation: 1, Guarantee: snapshot.Guarantee_GUARANTEE_AT_MOST_ONCE,
		KeySources:   []*snapshot.ContentSource{{Kind: &snapshot.ContentSource_Header{Header: "idempotency-key"}}},
		OnMissingKey: snapshot.OnMissingIdempotencyKey_ON_MISSING_IDEMPOTENCY_KEY_REJECT, MaxKeyBytes: 255,
		Scope:           []*snapshot.KeyPart{{Kind: &snapshot.KeyPart_Header{Header: "x-client-id"}}},
		Fingerprint:     &snapshot.Fingerprint{Method: true, Path: true},
		MaxRequestBytes: 1 << 20, MaxResponseBytes: 1 << 18, Lease: 30_000, UpstreamTimeout: 60_000, Retention: 3600_000,
		Store: "default", FailurePolicy: snapshot.FailurePolicy_FAILURE_POLICY_CLOSED,
	}}
	s.Ports[0].IdempotencyPolicy = "once"
	return s
}

func namespaceKey(b, previous byte) *stream.Secrets {
	k := &stream.NamespaceKey{Version: "1", Current: bytes.Repeat([]byte{b}, 32)}
	if previous != 0 {
		k.Previous = bytes.Repeat([]byte{previous}, 32)
	}
	return &stream.Secrets{NamespaceKey: k}
}

func secret(t *testing.T, e *engine.Engine, s *stream.Secrets) {
	t.Helper()
	if err := e.SetSecrets(s); err != nil {
		t.Fatal(err)
	}
}

// pending is a request that has come to the application.
type pending struct {
	chain    exchange.Chain
	x        *exchange.Exchange
	progress exchange.Progress
}

// send takes a payment through port 8080, to the application where pending says so.
func send(t *testing.T, e *engine.Engine, key string) (p *pending, status int) {
	t.Helper()
	port, _ := e.Port(8080)
	p = &pending{chain: port.Chain, x: get("/pay", "a")}
	p.x.Method, p.x.Request = []byte("POST"), headers{{"x-client-id", "a"}, {"idempotency-key", key}}
	if p.chain.Head(p.x, &p.progress) == exchange.Respond {
		p.chain.End(p.x, &p.progress, exchange.NotSent)
		return nil, p.x.Status
	}
	if !p.x.Record {
		t.Fatal("it passes unrecorded")
	}
	return p, 0
}

// end answers 201.
func (p *pending) end(t *testing.T) {
	t.Helper()
	p.x.Status = 201
	p.chain.ResponseHead(p.x)
	p.chain.ResponseBody(p.x, []byte("paid"))
	if !p.chain.ResponseEnd(p.x) {
		t.Error("the response is not taken")
	}
	p.chain.End(p.x, &p.progress, exchange.Replied)
}

// await sends until there is an answer of that status by Weir; 0: until it is executed.
func await(t *testing.T, e *engine.Engine, key string, want int) {
	t.Helper()
	for i := 0; ; i++ {
		p, status := send(t, e, key)
		if p != nil {
			p.end(t)
		}
		if status == want {
			return
		}
		if i == 1000 {
			t.Fatalf("%s: got %d for 10 s, want %d", key, status, want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestChain(t *testing.T) {
	e := open(t)
	s := recorded("")
	apply(t, e, s)
	p, _ := e.Port(8080)
	_, first := p.Chain[0].(*delivery.Filter)
	_, second := p.Chain[1].(*ratelimit.Filter)
	_, third := p.Chain[2].(*idempotency.Filter)
	if len(p.Chain) != 3 || !first || !second || !third {
		t.Errorf("the chain is %v", p.Chain)
	}
	s = recorded("")
	s.Ports[0].RateLimitPolicy = ""
	apply(t, e, s)
	if p, _ := e.Port(8080); len(p.Chain) != 2 {
		t.Errorf("without limits the chain is %v", p.Chain)
	}
	apply(t, e, podPolicy(1))
	if p, _ := e.Port(8080); len(p.Chain) != 1 {
		t.Errorf("without records the chain is %v", p.Chain)
	}
}

// TestRecordsOutliveSnapshots: what is in flight, and what was recorded, is so after
// snapshots that change the policy, take it away, and move its store.
func TestRecordsOutliveSnapshots(t *testing.T) {
	one, two := redistest.Start(t), redistest.Start(t)
	for name, addr := range map[string]string{"Redis": one.Addr, "this process": ""} {
		t.Run(name, func(t *testing.T) {
			e := open(t)
			secret(t, e, namespaceKey(1, 0))
			apply(t, e, recorded(addr))
			await(t, e, "warm", 0)
			p, _ := send(t, e, "k")
			changed := recorded(addr)
			changed.IdempotencyPolicies[0].MaxResponseBytes = 1 << 10
			apply(t, e, changed)
			if _, status := send(t, e, "k"); status != 409 {
				t.Errorf("in flight after a change: %d, want 409", status)
			}
			if addr != "" {
				apply(t, e, podPolicy(5))
				moved := recorded(two.Addr)
				apply(t, e, moved)
			}
			p.end(t)
			apply(t, e, recorded(addr))
			if _, status := send(t, e, "k"); status != 201 {
				t.Errorf("afterwards: %d, want the recorded 201", status)
			}
		})
	}
}

// TestTwoSidecarsExecuteOnce: what one has recorded, another replays.
func TestTwoSidecarsExecuteOnce(t *testing.T) {
	server := redistest.Start(t)
	one, two := open(t), open(t)
	for _, e := range []*engine.Engine{one, two} {
		secret(t, e, namespaceKey(1, 0))
		apply(t, e, recorded(server.Addr))
		await(t, e, "warm", 0)
		break
	}
	secret(t, two, namespaceKey(1, 0))
	apply(t, two, recorded(server.Addr))
	await(t, two, "warm", 201)
	p, _ := send(t, one, "k")
	if _, status := send(t, two, "k"); status != 409 {
		t.Errorf("in flight elsewhere: %d, want 409", status)
	}
	p.end(t)
	if _, status := send(t, two, "k"); status != 201 {
		t.Errorf("recorded elsewhere: %d, want 201", status)
	}
	// Nobody can tell from the store whose records these are.
	if keys := server.Ask("KEYS *"); strings.Contains(keys, "once") || !strings.Contains(keys, "weir:local:shop:{i") {
		t.Errorf("keys: %s", keys)
	}
}

func TestKeysComeAndChange(t *testing.T) {
	e := open(t)
	apply(t, e, recorded(""))
	if _, status := send(t, e, "k"); status != 503 {
		t.Fatalf("without a key: %d, want 503", status)
	}
	secret(t, e, namespaceKey(1, 0))
	p, _ := send(t, e, "k")
	p.end(t)
	secret(t, e, namespaceKey(2, 1))
	if _, status := send(t, e, "k"); status != 201 {
		t.Fatalf("after a rotation: %d, want 201", status)
	}
	// A message without keys takes none away, one that is malformed neither.
	secret(t, e, &stream.Secrets{})
	if e.SetSecrets(&stream.Secrets{NamespaceKey: &stream.NamespaceKey{Current: []byte("short")}}) == nil {
		t.Error("a short key was taken")
	}
	if _, status := send(t, e, "k"); status != 201 {
		t.Fatalf("after messages without it: %d, want 201", status)
	}
	sealed := recorded("")
	sealed.IdempotencyPolicies[0].EncryptionKey, sealed.IdempotencyPolicies[0].EncryptionVersion = "idem/key/", "1"
	apply(t, e, sealed)
	if _, status := send(t, e, "l"); status != 503 {
		t.Fatalf("without the user's key: %d, want 503", status)
	}
	if e.SetSecrets(&stream.Secrets{Keys: []*stream.UserKey{{Name: "idem/key/", Current: []byte("short")}}}) == nil {
		t.Error("a short key was taken")
	}
	secret(t, e, &stream.Secrets{Keys: []*stream.UserKey{{Name: "idem/key/", Current: []byte("0123456789abcdef")}}})
	p, _ = send(t, e, "l")
	p.end(t)
	if _, status := send(t, e, "l"); status != 201 {
		t.Fatalf("with it: %d, want 201", status)
	}
}

func TestIdempotencyRefusals(t *testing.T) {
	type snap = *snapshot.Snapshot
	policy := func(s snap) *snapshot.IdempotencyPolicy { return s.IdempotencyPolicies[0] }
	const id = "IdempotencyPolicy/once"
	for name, tc := range map[string]struct {
		edit func(s snap)
		want engine.Refusal
	}{
		"dangling":  {func(s snap) { s.IdempotencyPolicies = nil }, engine.Refusal{Policy: id, Reason: "Port 8080 names the policy, but it is not in the snapshot."}},
		"opaque":    {func(s snap) { s.Ports[1].IdempotencyPolicy = "once" }, engine.Refusal{Policy: id, Reason: "Port 9090 is opaque: no policy can govern it."}},
		"twice":     {func(s snap) { s.IdempotencyPolicies = append(s.IdempotencyPolicies, policy(s)) }, engine.Refusal{Policy: id, Reason: "The policy comes twice."}},
		"its name":  {func(s snap) { policy(s).Name = "a:b" }, engine.Refusal{Reason: `IdempotencyPolicy "a:b": the name is no Kubernetes name.`}},
		"no store":  {func(s snap) { s.Stores = nil }, engine.Refusal{Policy: id, Reason: `store "default" is not in the snapshot.`}},
		"no key":    {func(s snap) { s.NamespaceKeyVersion = "" }, engine.Refusal{Policy: id, Reason: "The snapshot names no key of the namespace, under which records are kept."}},
		"no scope":  {func(s snap) { policy(s).Scope = nil }, engine.Refusal{Policy: id, Reason: "Scope has 0 members, 1 to 4 are possible."}},
		"AMO, Open": {func(s snap) { policy(s).FailurePolicy = snapshot.FailurePolicy_FAILURE_POLICY_OPEN }, engine.Refusal{Policy: id, Reason: "Failure_policy Open lets requests pass twice, which AtMostOnce forbids."}},
		"provider": {func(s snap) {
			policy(s).Scope[0] = &snapshot.KeyPart{Kind: &snapshot.KeyPart_JwtClaim{JwtClaim: &snapshot.JWTClaim{Provider: "idp", Claim: "sub"}}}
		}, engine.Refusal{Policy: id, Reason: `Scope[0]: JWT provider "idp" is not in the snapshot.`}},
		"a new field": {func(s snap) { policy(s).ProtoReflect().SetUnknown([]byte{0xa0, 0x38, 1}) }, engine.Refusal{Policy: id, Reason: "The policy has fields that this sidecar does not know; a newer sidecar is needed."}},
	} {
		t.Run(name, func(t *testing.T) {
			e := open(t)
			s := recorded("")
			tc.edit(s)
			var got *engine.Refusal
			if err := e.Apply(s); !errors.As(err, &got) {
				t.Fatalf("Apply: %v, want a refusal", err)
			}
			if diff := cmp.Diff(tc.want, *got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestReports: Shadow's counts, and a store that may lose records.
func TestReports(t *testing.T) {
	server := redistest.Start(t, "--maxmemory-policy", "allkeys-lru")
	e := open(t)
	secret(t, e, namespaceKey(1, 0))
	s := recorded(server.Addr)
	s.IdempotencyPolicies[0].Shadow = true
	apply(t, e, s)
	if got := serve(t, e, 8080, func() *exchange.Exchange {
		x := get("/pay", "a")
		x.Method = []byte("POST")
		return x
	}()); got != 200 {
		t.Fatalf("refused: %d", got)
	}
	want := &stream.Report{
		IdempotencyShadow: []*stream.IdempotencyShadow{{Policy: "once", WouldRefuse: 1}},
		Stores:            []*stream.StoreProblem{{Store: "default", Kind: stream.StoreProblem_KIND_EVICTION, Detail: "allkeys-lru"}},
	}
	for i := 0; ; i++ {
		diff := cmp.Diff(want, e.Report(), protocmp.Transform())
		if diff == "" {
			break
		}
		if i == 1000 {
			t.Fatal(diff)
		}
		time.Sleep(10 * time.Millisecond)
	}
	apply(t, e, podPolicy(5))
	if diff := cmp.Diff(&stream.Report{}, e.Report(), protocmp.Transform()); diff != "" {
		t.Errorf("without the policy: %s", diff)
	}
}

// TestNotes: they are kept where they can be, and nothing is refused where not.
func TestNotes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	server := redistest.Start(t)
	for name, tc := range map[string]struct {
		notes string
		kept  bool
	}{"a directory": {filepath.Join(dir, "notes"), true}, "none": {"", false}, "a file": {file, false}} {
		e := engine.New(engine.Options{StoreTimeout: patient, Notes: tc.notes})
		secret(t, e, namespaceKey(1, 0))
		apply(t, e, recorded(server.Addr))
		await(t, e, strings.ReplaceAll(name, " ", "-"), 0)
		if found, _ := filepath.Glob(filepath.Join(tc.notes, "*", "*")); tc.notes != "" && (len(found) > 0) != tc.kept {
			t.Errorf("%s: %v", name, found)
		}
		e.Close()
	}
}
