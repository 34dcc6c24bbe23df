// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"weir.dev/weir/api/snapshot"
)

func TestCutPorts(t *testing.T) {
	port := func(n uint32, protocol snapshot.Protocol, policy string) *snapshot.Port {
		return &snapshot.Port{Number: n, Protocol: protocol, RateLimitPolicy: policy}
	}
	whole := &snapshot.Snapshot{
		Workload: &snapshot.Workload{Cluster: "c", Namespace: "shop", Key: "k"},
		Ports: []*snapshot.Port{
			port(80, snapshot.Protocol_PROTOCOL_HTTP, "both"), port(81, snapshot.Protocol_PROTOCOL_GRPC, "both"),
			port(82, snapshot.Protocol_PROTOCOL_H2C, "h2c"), port(83, snapshot.Protocol_PROTOCOL_WEBSOCKET, "ws"),
			port(84, snapshot.Protocol_PROTOCOL_AUTO, "auto"),
		},
		RateLimitPolicies: []*snapshot.RateLimitPolicy{{Name: "auto"}, {Name: "both"}, {Name: "h2c", Store: "default"}, {Name: "ws"}},
		Stores:            []*snapshot.Store{{Name: "default"}},
		Proxy:             &snapshot.Proxy{HeadBytes: 1 << 15},
		Telemetry:         &snapshot.Telemetry{},
	}
	whole.Ports[0].Timeouts = []*snapshot.RouteTimeout{{Prefix: "/", ResponseMilliseconds: 1000}}
	whole.Ports[0].MaxBodyBytes = 5
	for name, c := range map[string]struct {
		features      []string
		ports         []uint32
		policies      []string
		stores        int
		lacking       []string
		keepsSettings bool
	}{
		"all": {[]string{"h2c", "proxy/v1", "ratelimit/v1", "upgrade"}, []uint32{80, 81, 82, 83, 84}, []string{"auto", "both", "h2c", "ws"}, 1, nil, true},
		"the first version": {[]string{"ratelimit/v1"}, []uint32{80, 84}, []string{"auto", "both"}, 0,
			[]string{"RateLimitPolicy/both", "RateLimitPolicy/h2c", "RateLimitPolicy/ws"}, false},
		"no upgrade": {[]string{"ratelimit/v1", "h2c", "proxy/v1"}, []uint32{80, 81, 82, 84}, []string{"auto", "both", "h2c"}, 1,
			[]string{"RateLimitPolicy/ws"}, true},
		"no settings": {[]string{"ratelimit/v1", "h2c", "upgrade"}, []uint32{80, 81, 82, 83, 84}, []string{"auto", "both", "h2c", "ws"}, 1, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			before := proto.CloneOf(whole)
			got, lacking := Cut(whole, c.features)
			if d := cmp.Diff(c.lacking, lacking); d != "" {
				t.Errorf("left out (-want +got):\n%s", d)
			}
			var ports []uint32
			for _, p := range got.GetPorts() {
				ports = append(ports, p.GetNumber())
			}
			var policies []string
			for _, p := range got.GetRateLimitPolicies() {
				policies = append(policies, p.GetName())
			}
			if d := cmp.Diff(c.ports, ports); d != "" {
				t.Errorf("ports (-want +got):\n%s", d)
			}
			if d := cmp.Diff(c.policies, policies); d != "" {
				t.Errorf("policies (-want +got):\n%s", d)
			}
			if len(got.GetStores()) != c.stores {
				t.Errorf("stores %v, want %d", got.GetStores(), c.stores)
			}
			if keeps := got.GetProxy() != nil && got.GetTelemetry() != nil && got.Ports[0].GetMaxBodyBytes() == 5 && len(got.Ports[0].GetTimeouts()) == 1; keeps != c.keepsSettings {
				t.Errorf("settings are kept: %v, want %v", keeps, c.keepsSettings)
			}
			if d := cmp.Diff(before, whole, protocmp.Transform()); d != "" {
				t.Errorf("the whole snapshot has changed:\n%s", d)
			}
		})
	}
}

func TestCut(t *testing.T) {
	whole := &snapshot.Snapshot{
		Workload: &snapshot.Workload{Cluster: "c", Namespace: "shop", Key: "k"},
		Ports: []*snapshot.Port{
			{Number: 80, Protocol: snapshot.Protocol_PROTOCOL_HTTP, RateLimitPolicy: "payments"},
			{Number: 90, Protocol: snapshot.Protocol_PROTOCOL_OPAQUE},
		},
		RateLimitPolicies: []*snapshot.RateLimitPolicy{{Name: "payments", Store: "default"}},
		Stores:            []*snapshot.Store{{Name: "default"}},
	}
	bare := &snapshot.Snapshot{Workload: whole.GetWorkload(), Ports: whole.GetPorts()[1:]}
	cases := map[string]struct {
		features []string
		want     *snapshot.Snapshot
		lacking  []string
	}{
		"all":     {[]string{"other", FeatureRateLimit}, whole, nil},
		"none":    {nil, bare, []string{"RateLimitPolicy/payments"}},
		"another": {[]string{"ratelimit/v0"}, bare, []string{"RateLimitPolicy/payments"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			before := proto.CloneOf(whole)
			got, lacking := Cut(whole, c.features)
			if d := cmp.Diff(c.want, got, protocmp.Transform()); d != "" {
				t.Errorf("snapshot (-want +got):\n%s", d)
			}
			if d := cmp.Diff(c.lacking, lacking); d != "" {
				t.Errorf("left out (-want +got):\n%s", d)
			}
			if d := cmp.Diff(before, whole, protocmp.Transform()); d != "" {
				t.Errorf("the whole snapshot has changed:\n%s", d)
			}
		})
	}
}

// A sidecar that reads no Thrift is not told of ports that speak it, nor of policies that
// are about it; the policy goes on where it can.
func TestCutThrift(t *testing.T) {
	whole := &snapshot.Snapshot{
		Workload: &snapshot.Workload{Cluster: "c", Namespace: "shop", Key: "k"},
		Ports: []*snapshot.Port{
			{Number: 80, Protocol: snapshot.Protocol_PROTOCOL_HTTP, RateLimitPolicy: "both"},
			{Number: 81, Protocol: snapshot.Protocol_PROTOCOL_AUTO, RateLimitPolicy: "calls"},
			{Number: 90, Protocol: snapshot.Protocol_PROTOCOL_THRIFT, RateLimitPolicy: "both"},
		},
		RateLimitPolicies: []*snapshot.RateLimitPolicy{{Name: "both"}, {Name: "calls", Thrift: &snapshot.ThriftAnswers{ExceptionField: 1}}},
	}
	got, lacking := Cut(whole, []string{FeatureRateLimit})
	want := &snapshot.Snapshot{Workload: whole.GetWorkload(), Ports: whole.GetPorts()[:1], RateLimitPolicies: whole.GetRateLimitPolicies()[:1]}
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.Errorf("snapshot (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"RateLimitPolicy/both", "RateLimitPolicy/calls"}, lacking); d != "" {
		t.Errorf("left out (-want +got):\n%s", d)
	}
	if got, lacking := Cut(whole, []string{FeatureRateLimit, FeatureThrift}); len(lacking) > 0 || !proto.Equal(whole, got) {
		t.Errorf("with the feature %v are left out: %v", lacking, got)
	}
	if d := cmp.Diff([]string{FeatureRateLimit, FeatureThrift}, Wanted(whole)); d != "" {
		t.Errorf("wanted (-want +got):\n%s", d)
	}
}

func TestRateLimitFeatures(t *testing.T) {
	limit := func(edit func(*snapshot.Limit)) *snapshot.RateLimitPolicy {
		l := &snapshot.Limit{Name: "l", Key: []*snapshot.KeyPart{{Kind: &snapshot.KeyPart_Header{Header: "x"}}}}
		edit(l)
		return &snapshot.RateLimitPolicy{Limits: []*snapshot.Limit{{Name: "a"}, l}, Headers: snapshot.HeaderStyle_HEADER_STYLE_NONE}
	}
	key := func(k *snapshot.KeyPart) *snapshot.RateLimitPolicy {
		return limit(func(l *snapshot.Limit) { l.Key = append(l.Key, k) })
	}
	for name, tc := range map[string]struct {
		policy *snapshot.RateLimitPolicy
		want   []string
	}{
		"match thrift": {limit(func(l *snapshot.Limit) {
			l.Match = []*snapshot.Match{{Kind: &snapshot.Match_Thrift{Thrift: &snapshot.ThriftMatch{}}}}
		}), []string{FeatureRateLimit, FeatureThrift}},
		"thriftHeader": {key(&snapshot.KeyPart{Kind: &snapshot.KeyPart_ThriftHeader{ThriftHeader: "h"}}), []string{FeatureRateLimit, FeatureThrift}},
		"thriftField":  {key(&snapshot.KeyPart{Kind: &snapshot.KeyPart_ThriftField{ThriftField: "1"}}), []string{FeatureRateLimit, FeatureThrift}},
		"answers":      {&snapshot.RateLimitPolicy{Thrift: &snapshot.ThriftAnswers{ExceptionCode: 7}}, []string{FeatureRateLimit, FeatureThrift}},
		"nothing new":  {limit(func(*snapshot.Limit) {}), []string{FeatureRateLimit}},
		"exempt":       {&snapshot.RateLimitPolicy{Exempt: []*snapshot.Exemption{{}}}, []string{FeatureRateLimit, FeatureRateLimit2}},
		"fields":       {&snapshot.RateLimitPolicy{Headers: snapshot.HeaderStyle_HEADER_STYLE_BOTH}, []string{FeatureRateLimit, FeatureRateLimit2}},
		"cost":         {limit(func(l *snapshot.Limit) { l.Cost = 2 }), []string{FeatureRateLimit, FeatureRateLimit2}},
		"overrides":    {limit(func(l *snapshot.Limit) { l.Overrides = []*snapshot.Override{{}} }), []string{FeatureRateLimit, FeatureRateLimit2}},
		"calendar":     {limit(func(l *snapshot.Limit) { l.Calendar = &snapshot.Calendar{} }), []string{FeatureCalendar, FeatureRateLimit}},
		"responses":    {limit(func(l *snapshot.Limit) { l.CostHeader = "x-cost" }), []string{FeatureResponseCost, FeatureRateLimit}},
		"replays":      {limit(func(l *snapshot.Limit) { l.FreeReplays = true }), []string{FeatureFreeReplays, FeatureRateLimit}},
		"concurrency":  {limit(func(l *snapshot.Limit) { l.Algorithm = snapshot.Algorithm_ALGORITHM_CONCURRENCY }), []string{FeatureConcurrency, FeatureRateLimit}},
		"leased":       {limit(func(l *snapshot.Limit) { l.Leased = true }), []string{FeatureRateLimit}},
		"penalty":      {limit(func(l *snapshot.Limit) { l.Penalty = &snapshot.Penalty{} }), []string{FeaturePenalty, FeatureRateLimit}},
		"query":        {key(&snapshot.KeyPart{Kind: &snapshot.KeyPart_QueryParam{QueryParam: "q"}}), []string{FeatureRateLimit, FeatureRateLimit2}},
		"cookie":       {key(&snapshot.KeyPart{Kind: &snapshot.KeyPart_Cookie{Cookie: "c"}}), []string{FeatureRateLimit, FeatureRateLimit2}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, Required(tc.policy)); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestLeasesAreCut: an old sidecar enforces a leased limit by asking each time.
func TestLeasesAreCut(t *testing.T) {
	whole := &snapshot.Snapshot{RateLimitPolicies: []*snapshot.RateLimitPolicy{{Name: "p", Limits: []*snapshot.Limit{{Name: "l", Leased: true}}}},
		Ports: []*snapshot.Port{{Number: 80, RateLimitPolicy: "p"}}}
	if d := cmp.Diff([]string{FeatureLeased, FeatureRateLimit}, Wanted(whole)); d != "" {
		t.Error(d)
	}
	got, lacking := Cut(whole, []string{FeatureRateLimit})
	want := proto.CloneOf(whole)
	want.RateLimitPolicies[0].Limits[0].Leased = false
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" || len(lacking) > 0 {
		t.Errorf("left out %v (-want +got)\n%s", lacking, d)
	}
}

// TestIdempotencyIsCut: a sidecar without it goes on with the limits of the port.
func TestIdempotencyIsCut(t *testing.T) {
	jwt := []*snapshot.KeyPart{{Kind: &snapshot.KeyPart_JwtClaim{JwtClaim: &snapshot.JWTClaim{Provider: "idp", Claim: "sub"}}}}
	whole := &snapshot.Snapshot{
		Workload: &snapshot.Workload{Cluster: "c", Namespace: "shop", Key: "k"},
		Ports: []*snapshot.Port{
			{Number: 80, RateLimitPolicy: "limits", IdempotencyPolicy: "pay"},
			{Number: 81, IdempotencyPolicy: "pay"},
			{Number: 82, Protocol: snapshot.Protocol_PROTOCOL_H2C, RateLimitPolicy: "limits", IdempotencyPolicy: "tokens"},
		},
		RateLimitPolicies:   []*snapshot.RateLimitPolicy{{Name: "limits", Store: "a"}},
		IdempotencyPolicies: []*snapshot.IdempotencyPolicy{{Name: "pay", Store: "b"}, {Name: "tokens", Store: "b", Scope: jwt}},
		Stores:              []*snapshot.Store{{Name: "a"}, {Name: "b"}},
		JwtProviders:        []*snapshot.JWTProvider{{Name: "idp"}},
		NamespaceKeyVersion: "1",
	}
	if d := cmp.Diff([]string{FeatureH2C, FeatureIdempotency, FeatureJWT, FeatureRateLimit}, Wanted(whole)); d != "" {
		t.Error(d)
	}
	for name, c := range map[string]struct {
		features []string
		// ports as number:limits/idempotency.
		ports, stores, providers, lacking []string
		key                               bool
	}{
		"all": {Wanted(whole), []string{"80:limits/pay", "81:/pay", "82:limits/tokens"}, []string{"a", "b"}, []string{"idp"}, nil, true},
		"none of it": {[]string{FeatureRateLimit, FeatureH2C, FeatureJWT}, []string{"80:limits/", "82:limits/"}, []string{"a"}, nil,
			[]string{"IdempotencyPolicy/pay", "IdempotencyPolicy/tokens"}, false},
		"no tokens": {[]string{FeatureRateLimit, FeatureH2C, FeatureIdempotency}, []string{"80:limits/pay", "81:/pay", "82:limits/"},
			[]string{"a", "b"}, nil, []string{"IdempotencyPolicy/tokens"}, true},
		"no HTTP/2": {[]string{FeatureRateLimit, FeatureJWT, FeatureIdempotency}, []string{"80:limits/pay", "81:/pay"},
			[]string{"a", "b"}, nil, []string{"IdempotencyPolicy/tokens", "RateLimitPolicy/limits"}, true},
		"no limits": {[]string{FeatureH2C, FeatureJWT, FeatureIdempotency}, []string{"80:/pay", "81:/pay", "82:/tokens"},
			[]string{"b"}, []string{"idp"}, []string{"RateLimitPolicy/limits"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, lacking := Cut(whole, c.features)
			var ports []string
			for _, p := range got.GetPorts() {
				ports = append(ports, fmt.Sprintf("%d:%s/%s", p.GetNumber(), p.GetRateLimitPolicy(), p.GetIdempotencyPolicy()))
			}
			var stores, providers []string
			for _, s := range got.GetStores() {
				stores = append(stores, s.GetName())
			}
			for _, p := range got.GetJwtProviders() {
				providers = append(providers, p.GetName())
			}
			for what, d := range map[string]string{
				"ports": cmp.Diff(c.ports, ports), "stores": cmp.Diff(c.stores, stores),
				"providers": cmp.Diff(c.providers, providers), "lacking": cmp.Diff(c.lacking, lacking),
			} {
				if d != "" {
					t.Errorf("%s (-want +got):\n%s", what, d)
				}
			}
			if key := got.GetNamespaceKeyVersion() != ""; key != c.key {
				t.Errorf("the namespace's key is named: %v, want %v", key, c.key)
			}
		})
	}
}
