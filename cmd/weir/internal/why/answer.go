// SPDX-License-Identifier: Apache-2.0

package why

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/filter/ratelimit"
)

// What becomes of a request.
const (
	// Allowed: it goes on to the application.
	Allowed = "allowed"
	// Denied: a limit has answered.
	Denied = "denied"
	// Refused: the proxy has answered before a limit was asked.
	Refused = "refused"
)

// Answer is what `weir why -o json` prints.
type Answer struct {
	// Request and From are what was asked about, Count the number of equal requests.
	Request string `json:"request"`
	Peer    string `json:"peer"`
	Client  string `json:"client"`
	Count   int    `json:"count"`
	// Assumed: the peer was not given.
	Assumed bool `json:"assumedPeer,omitempty"`
	// Port is service/port, Protocol what it speaks where a policy governs it.
	Port     string `json:"port"`
	Protocol string `json:"protocol,omitempty"`
	// Policy that governs the port; empty: none does.
	Policy string  `json:"policy,omitempty"`
	Exempt string  `json:"exempt,omitempty"`
	Limits []Limit `json:"limits"`
	// Idempotency is what the IdempotencyPolicy of the port makes of it; absent: there is
	// none.
	Idempotency *Idempotency `json:"idempotency,omitempty"`
	// Decision is allowed, denied or refused.
	Decision string    `json:"decision"`
	Response *Response `json:"response,omitempty"`
	// Source says where the policies are from, Pods what the pods have of them.
	Source string `json:"source"`
	Pods   []Pod  `json:"pods,omitempty"`
	// Notes are what is to be known besides.
	Notes []string `json:"notes,omitempty"`
}

// Pod is what one pod has acknowledged.
type Pod struct {
	Name string `json:"name"`
	// Generation of the policy that it enforces, 0: none.
	Generation int64 `json:"generation"`
	// Current: that is the one that is explained.
	Current bool `json:"current"`
}

// Limit is what one limit makes of the request.
type Limit struct {
	Name string `json:"name"`
	Mode string `json:"mode"`
	// Matches: the limit's match covers the request; Entry is what of it does, absent
	// where it has none. Misses says of each entry why it does not.
	Matches bool     `json:"matches"`
	Entry   string   `json:"entry,omitempty"`
	Misses  []Miss   `json:"misses,omitempty"`
	Key     []Member `json:"key,omitempty"`
	// MissingKey is what onMissingKey does here: ClientIP, Skip or Deny.
	MissingKey string `json:"missingKey,omitempty"`
	Override   bool   `json:"override,omitempty"`
	Unlimited  bool   `json:"unlimited,omitempty"`
	Algorithm  string `json:"algorithm"`
	Limit      uint64 `json:"limit"`
	// Window in words; absent with Concurrency.
	Window   string    `json:"window,omitempty"`
	Burst    uint64    `json:"burst,omitempty"`
	Cost     uint64    `json:"cost"`
	Scope    string    `json:"scope"`
	Accuracy string    `json:"accuracy,omitempty"`
	Decision *Decision `json:"decision,omitempty"`
}

// Miss is an entry of match that does not cover the request.
type Miss struct {
	Entry string `json:"entry"`
	Why   string `json:"why"`
}

// Member of a key.
type Member struct {
	Member string `json:"member"`
	// Value that is counted; of a token's claim a hash.
	Value   string `json:"value,omitempty"`
	Missing string `json:"missing,omitempty"`
}

// Decision of one limit.
type Decision struct {
	Outcome   string `json:"outcome"`
	Remaining uint64 `json:"remaining"`
	// Seconds is the parameter t of RateLimit; 0 where there is none.
	Seconds int64 `json:"seconds,omitempty"`
}

// Question is a request, and the snapshot to be asked.
type Question struct {
	Snapshot *snapshot.Snapshot
	// Port is service/port.
	Port    string
	Request Request
	// Now is when the request is made.
	Now time.Time
}

// Ask explains.
func Ask(ctx context.Context, q Question) (*Answer, error) {
	service, _, _ := strings.Cut(q.Port, "/")
	assumed := !q.Request.Peer.IsValid() && !q.Request.Client.IsValid()
	r := q.Request.complete(service)
	out := &Answer{
		Request: r.Method + " " + r.Target, Peer: r.Peer.String(), Client: r.Peer.String(), Assumed: assumed, Count: r.Count,
		Port: q.Port, Limits: []Limit{}, Decision: Allowed,
	}
	port := portNamed(q.Snapshot, q.Port)
	if len(snapshot.Governing(port)) == 0 {
		return out, nil
	}
	out.Protocol = protocolName(port.GetProtocol())
	ns := q.Snapshot.GetWorkload().GetNamespace()
	if name := port.GetRateLimitPolicy(); name != "" {
		out.Policy = ns + "/" + name
	}
	a, err := ask(ctx, q.Snapshot, uint16(port.GetNumber()), r, q.Now)
	if err != nil {
		return nil, err
	}
	out.Response, out.Notes = &a.response, a.notes
	if id := (snapshot.PolicyID{Kind: snapshot.KindIdempotencyPolicy, Name: port.GetIdempotencyPolicy()}); id.Name != "" {
		p, _ := snapshot.Find(q.Snapshot, id).(*snapshot.IdempotencyPolicy)
		out.Idempotency = viewIdempotency(ns+"/"+id.Name, p, a)
	}
	switch {
	case !a.seen:
		out.Decision = Refused
		return out, nil
	case !a.passed:
		out.Decision = Denied
	}
	out.Client, out.Exempt = a.client.String(), a.explanation.Exempt
	policy := policyNamed(q.Snapshot, port.GetRateLimitPolicy())
	for i := range a.explanation.Limits {
		out.Limits = append(out.Limits, viewLimit(&a.explanation.Limits[i], policy))
	}
	return out, nil
}

// Governs reports whether the policy is one of those that are explained.
func (a *Answer) Governs(kind, namespacedName string) bool {
	if kind == snapshot.KindIdempotencyPolicy {
		return a.Idempotency != nil && a.Idempotency.Policy == namespacedName
	}
	return kind == snapshot.KindRateLimitPolicy && a.Policy == namespacedName
}

func portNamed(s *snapshot.Snapshot, name string) *snapshot.Port {
	for _, p := range s.GetPorts() {
		if slices.Contains(p.GetNames(), name) {
			return p
		}
	}
	return nil
}

func policyNamed(s *snapshot.Snapshot, name string) *snapshot.RateLimitPolicy {
	for _, p := range s.GetRateLimitPolicies() {
		if p.GetName() == name {
			return p
		}
	}
	return nil
}

func protocolName(p snapshot.Protocol) string {
	return strings.ToLower(strings.TrimPrefix(p.String(), "PROTOCOL_"))
}

func viewLimit(e *ratelimit.LimitExplanation, policy *snapshot.RateLimitPolicy) Limit {
	out := Limit{
		Name: e.Name, Mode: "Enforce", Matches: e.Covers, Entry: e.Entry, Override: e.Overridden, Unlimited: e.Unlimited,
		Algorithm: algorithmName(e.Rule.Algorithm()), Limit: e.Rule.Limit(), Burst: e.Rule.Burst(), Cost: e.Rule.Cost(), Scope: "Cluster",
	}
	if e.Shadow {
		out.Mode = "Shadow"
	}
	if e.Rule.Algorithm() != limiter.Concurrency {
		out.Window = e.Every
	}
	var compiled *snapshot.Limit
	for _, l := range policy.GetLimits() {
		if l.GetName() == e.Name {
			compiled = l
		}
	}
	switch {
	case compiled.GetScope() == snapshot.Scope_SCOPE_POD:
		out.Scope = "Pod"
	case compiled.GetLeased():
		out.Accuracy = "Leased"
	default:
		out.Accuracy = "Exact"
	}
	if !e.Covers {
		for _, m := range e.Misses {
			out.Misses = append(out.Misses, Miss{m.Entry, m.Why})
		}
		return out
	}
	for i, m := range e.Key {
		// The member of the snapshot at the same place.
		if compiled.GetKey()[i].GetJwtClaim() != nil && m.Missing == "" {
			m.Value = hashed(m.Value)
		}
		out.Key = append(out.Key, Member{m.Member, m.Value, m.Missing})
		if m.Missing != "" {
			out.MissingKey = "ClientIP"
		}
	}
	switch {
	case e.Skipped:
		out.MissingKey = "Skip"
	case e.Refused:
		out.MissingKey = "Deny"
	}
	out.Decision = viewDecision(e)
	return out
}

// hashed stands for what a token says of its owner: two tokens that are counted as one
// have the same.
func hashed(value string) string {
	sum := sha256.Sum256([]byte(value))
	return "sha256:" + hex.EncodeToString(sum[:8])
}

func viewDecision(e *ratelimit.LimitExplanation) *Decision {
	if !e.Decided {
		return nil
	}
	d := &Decision{Outcome: "allowed", Remaining: e.Decision.Remaining, Seconds: e.Seconds}
	if e.Rule.Algorithm() == limiter.Concurrency {
		d.Seconds = 0
	}
	switch {
	case e.Decision.Allowed:
	case e.Shadow:
		d.Outcome = "would be denied"
	case e.Decision.Banned:
		d.Outcome = "banned"
	default:
		d.Outcome = "denied"
	}
	return d
}

func algorithmName(a limiter.Algorithm) string {
	return map[limiter.Algorithm]string{
		limiter.SlidingWindow: "SlidingWindow", limiter.TokenBucket: "TokenBucket",
		limiter.FixedWindow: "FixedWindow", limiter.Concurrency: "Concurrency",
	}[a]
}
