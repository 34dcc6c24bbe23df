// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
)

// Features that a sidecar names in Hello. What a sidecar lacks is left out of its
// snapshot, so that it never acks what it does not enforce.
const (
	// FeatureRateLimit is RateLimitPolicy over HTTP: SlidingWindow, TokenBucket and
	// FixedWindow; keys header, clientIP and pathParam; scopes Pod and Cluster.
	FeatureRateLimit = "ratelimit/v1"
	// FeatureRateLimit2 is exemptions, costs, overrides, X-RateLimit fields and the
	// keys queryParam and cookie.
	FeatureRateLimit2 = "ratelimit/v2"
	// FeatureConcurrency is limits of requests in progress.
	FeatureConcurrency = "ratelimit/concurrency"
	// FeatureLeased is tokens that are taken from the store ahead of need. A sidecar
	// without it asks the store each time, which keeps the promise as well.
	FeatureLeased = "ratelimit/leased"
	// FeaturePenalty is bans after denials.
	FeaturePenalty = "ratelimit/penalty"
	// FeatureJWT is keys of claims of verified tokens.
	FeatureJWT = "ratelimit/jwt"
	// FeatureCalendar is windows of the calendar.
	FeatureCalendar = "ratelimit/calendar"
	// FeatureIdempotency is IdempotencyPolicy over HTTP, whole; a scope by jwtClaim asks
	// for FeatureJWT too.
	FeatureIdempotency = "idempotency/v1"
	// FeatureResponseCost is costs that a field of the response says.
	FeatureResponseCost = "ratelimit/response-cost"
	// FeatureFreeReplays is giving back what replays of an IdempotencyPolicy have cost.
	FeatureFreeReplays = "ratelimit/free-replays"
	// FeatureH2C is HTTP/2 with prior knowledge: ports of protocol h2c and grpc.
	FeatureH2C = "h2c"
	// FeatureThrift is calls of Thrift: ports of protocol thrift, matches, keys and
	// answers of RateLimitPolicy.
	FeatureThrift = "thrift/v1"
	// FeatureTranscode is Port.transcoding. Without it the port is left out, and clients
	// reach the Thrift application as if there were no sidecar, which it refuses.
	FeatureTranscode = "thrift/transcode"
	// FeatureUpgrade is Upgrade as in WebSocket: ports of protocol ws.
	FeatureUpgrade = "upgrade"
	// FeatureProxy is Snapshot.proxy and telemetry, Port.timeouts and
	// max_body_bytes: no policy's, so a sidecar without it has its own defaults.
	FeatureProxy = "proxy/v1"
)

// Kinds of policies, as they begin their names in Nack, PodState and Cut: kind/name.
const (
	KindRateLimitPolicy   = snapshot.KindRateLimitPolicy
	KindIdempotencyPolicy = snapshot.KindIdempotencyPolicy
)

// Required returns the features a sidecar needs to enforce a policy, sorted.
func Required(p snapshot.Policy) []string {
	var out []string
	switch p := p.(type) {
	case *snapshot.RateLimitPolicy:
		out = requiredByLimits(p)
	case *snapshot.IdempotencyPolicy:
		out = []string{FeatureIdempotency}
	}
	if len(snapshot.JWTClaims(p)) > 0 {
		out = append(out, FeatureJWT)
	}
	if snapshot.SpeaksOfThrift(p) {
		out = append(out, FeatureThrift)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func requiredByLimits(p *snapshot.RateLimitPolicy) []string {
	out := []string{FeatureRateLimit}
	if needsRateLimit2(p) {
		out = append(out, FeatureRateLimit2)
	}
	for _, l := range p.GetLimits() {
		if l.GetPenalty() != nil {
			out = append(out, FeaturePenalty)
		}
		if l.GetAlgorithm() == snapshot.Algorithm_ALGORITHM_CONCURRENCY {
			out = append(out, FeatureConcurrency)
		}
		if l.GetCalendar() != nil {
			out = append(out, FeatureCalendar)
		}
		if l.GetCostHeader() != "" {
			out = append(out, FeatureResponseCost)
		}
		if l.GetFreeReplays() {
			out = append(out, FeatureFreeReplays)
		}
	}
	return out
}

func needsRateLimit2(p *snapshot.RateLimitPolicy) bool {
	if len(p.GetExempt()) > 0 || p.GetHeaders() > snapshot.HeaderStyle_HEADER_STYLE_NONE {
		return true
	}
	return slices.ContainsFunc(p.GetLimits(), func(l *snapshot.Limit) bool {
		return l.GetCost() > 0 || len(l.GetOverrides()) > 0 || slices.ContainsFunc(l.GetKey(), func(k *snapshot.KeyPart) bool {
			return k.GetQueryParam() != "" || k.GetCookie() != ""
		})
	})
}

// RequiredAt returns the feature a sidecar needs to govern a port, whatever the
// policy; empty where every sidecar can.
func RequiredAt(p *snapshot.Port) string {
	if p.GetTranscoding() != nil {
		return FeatureTranscode
	}
	switch p.GetProtocol() {
	case snapshot.Protocol_PROTOCOL_H2C, snapshot.Protocol_PROTOCOL_GRPC:
		return FeatureH2C
	case snapshot.Protocol_PROTOCOL_WEBSOCKET:
		return FeatureUpgrade
	case snapshot.Protocol_PROTOCOL_THRIFT:
		return FeatureThrift
	}
	return ""
}

// Wanted returns every feature that a snapshot makes use of, sorted.
func Wanted(s *snapshot.Snapshot) []string {
	var out []string
	for p := range snapshot.Policies(s) {
		out = append(out, Required(p)...)
	}
	for _, p := range s.GetPorts() {
		if f := RequiredAt(p); f != "" {
			out = append(out, f)
		}
	}
	if hasSettings(s) {
		out = append(out, FeatureProxy)
	}
	if hasLeases(s) {
		out = append(out, FeatureLeased)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Cut returns s without what needs more than features, and the policies, kind/name,
// sorted, that are not enforced everywhere for it: they are left out, or some of
// their ports are. Ports without a policy that they had, and what nobody uses any more
// (stores, providers, the namespace's key), go too.
// When nothing is lacking it returns s itself; s is never changed.
func Cut(s *snapshot.Snapshot, features []string) (*snapshot.Snapshot, []string) {
	has := func(f string) bool { return f == "" || slices.Contains(features, f) }
	if !slices.ContainsFunc(Wanted(s), func(f string) bool { return !has(f) }) {
		return s, nil
	}
	cut := proto.CloneOf(s)
	if !has(FeatureProxy) {
		dropSettings(cut)
	}
	if !has(FeatureLeased) {
		dropLeases(cut)
	}
	lacking, gone := map[snapshot.PolicyID]bool{}, map[snapshot.PolicyID]bool{}
	for p := range snapshot.Policies(cut) {
		if slices.ContainsFunc(Required(p), func(f string) bool { return !has(f) }) {
			lacking[snapshot.IDOf(p)], gone[snapshot.IDOf(p)] = true, true
		}
	}
	left := map[snapshot.PolicyID]bool{}
	cut.Ports = slices.DeleteFunc(cut.Ports, func(p *snapshot.Port) bool {
		all, unable := snapshot.Governing(p), !has(RequiredAt(p))
		for _, id := range all {
			switch {
			case unable:
				lacking[id] = true
			case gone[id]:
				snapshot.Govern(p, snapshot.PolicyID{Kind: id.Kind})
			default:
				left[id] = true
			}
		}
		return unable || len(all) > 0 && len(snapshot.Governing(p)) == 0
	})
	var kept []snapshot.Policy
	for p := range snapshot.Policies(cut) {
		if id := snapshot.IDOf(p); !gone[id] && (!lacking[id] || left[id]) {
			kept = append(kept, p)
		}
	}
	snapshot.SetPolicies(cut, kept)
	dropUnused(cut)
	var out []string
	for id := range lacking {
		out = append(out, id.String())
	}
	slices.Sort(out)
	return cut, out
}

// dropUnused takes out what no policy names.
func dropUnused(s *snapshot.Snapshot) {
	stores, providers, key := map[string]bool{}, map[string]bool{}, false
	for p := range snapshot.Policies(s) {
		stores[p.GetStore()] = true
		for name := range snapshot.JWTClaims(p) {
			providers[name] = true
		}
		key = key || snapshot.NeedsNamespaceKey(p)
	}
	s.Stores = slices.DeleteFunc(s.Stores, func(st *snapshot.Store) bool { return !stores[st.GetName()] })
	s.JwtProviders = slices.DeleteFunc(s.JwtProviders, func(p *snapshot.JWTProvider) bool { return !providers[p.GetName()] })
	if !key {
		s.NamespaceKeyVersion = ""
	}
}

func hasSettings(s *snapshot.Snapshot) bool {
	return s.GetProxy() != nil || s.GetTelemetry() != nil || slices.ContainsFunc(s.GetPorts(), func(p *snapshot.Port) bool {
		return len(p.GetTimeouts()) > 0 || p.GetMaxBodyBytes() > 0
	})
}

func dropSettings(s *snapshot.Snapshot) {
	s.Proxy, s.Telemetry = nil, nil
	for _, p := range s.GetPorts() {
		p.Timeouts, p.MaxBodyBytes = nil, 0
	}
}

func hasLeases(s *snapshot.Snapshot) bool {
	return slices.ContainsFunc(s.GetRateLimitPolicies(), func(p *snapshot.RateLimitPolicy) bool {
		return slices.ContainsFunc(p.GetLimits(), (*snapshot.Limit).GetLeased)
	})
}

func dropLeases(s *snapshot.Snapshot) {
	for _, p := range s.GetRateLimitPolicies() {
		for _, l := range p.GetLimits() {
			l.Leased = false
		}
	}
}
