// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

func good() *Snapshot {
	return &Snapshot{
		Workload: &Workload{Cluster: "c", Namespace: "shop", Key: "k"},
		Ports: []*Port{
			{Number: 8080, Protocol: Protocol_PROTOCOL_HTTP, RateLimitPolicy: "payments", Names: []string{"pay/80", "pay/http"}},
			{Number: 9090, Protocol: Protocol_PROTOCOL_OPAQUE},
		},
		RateLimitPolicies: []*RateLimitPolicy{{
			Name: "payments", Generation: 1, Store: "default",
			FailurePolicy: FailurePolicy_FAILURE_POLICY_OPEN, Headers: HeaderStyle_HEADER_STYLE_IETF,
			Limits: []*Limit{{
				Name: "pay", Limit: 5, WindowSeconds: 60, Algorithm: Algorithm_ALGORITHM_SLIDING_WINDOW,
				Scope: Scope_SCOPE_CLUSTER, OnMissingKey: OnMissingKey_ON_MISSING_KEY_SKIP,
				Match: []*Match{{Kind: &Match_Http{Http: &HTTPMatch{Methods: []string{"GET", "POST"}}}}},
				Key:   []*KeyPart{{Kind: &KeyPart_Header{Header: "x-client"}}},
			}},
		}},
		Stores: []*Store{{Name: "default"}},
	}
}

func TestValidate(t *testing.T) {
	if err := Validate(good()); err != nil {
		t.Fatal(err)
	}
	limit := func(s *Snapshot) *Limit { return s.RateLimitPolicies[0].Limits[0] }
	cases := map[string]struct {
		spoil func(*Snapshot)
		want  string
	}{
		"no workload":      {func(s *Snapshot) { s.Workload = nil }, "workload.cluster"},
		"no namespace":     {func(s *Snapshot) { s.Workload.Namespace = "" }, "workload.namespace"},
		"ports unsorted":   {func(s *Snapshot) { s.Ports[1].Number = 80 }, "ports: 80 is not above 8080"},
		"port 0":           {func(s *Snapshot) { s.Ports[0].Number = 0 }, "ports: 0"},
		"port too high":    {func(s *Snapshot) { s.Ports[1].Number = 65536 }, "above 65535"},
		"no protocol":      {func(s *Snapshot) { s.Ports[0].Protocol = 0 }, "protocol 0"},
		"unknown policy":   {func(s *Snapshot) { s.Ports[0].RateLimitPolicy = "x" }, `policy "x"`},
		"opaque":           {func(s *Snapshot) { s.Ports[1].RateLimitPolicy = "payments" }, "opaque"},
		"names unsorted":   {func(s *Snapshot) { s.Ports[0].Names = []string{"b", "a"} }, "names"},
		"policy twice":     {func(s *Snapshot) { s.RateLimitPolicies = append(s.RateLimitPolicies, s.RateLimitPolicies[0]) }, "rate_limit_policies"},
		"unknown store":    {func(s *Snapshot) { s.Stores = nil }, `store "default"`},
		"no store":         {func(s *Snapshot) { s.RateLimitPolicies[0].Store = "" }, "without a store"},
		"no limits":        {func(s *Snapshot) { s.RateLimitPolicies[0].Limits = nil }, "no limit"},
		"no failure":       {func(s *Snapshot) { s.RateLimitPolicies[0].FailurePolicy = 0 }, "failure_policy"},
		"no headers":       {func(s *Snapshot) { s.RateLimitPolicies[0].Headers = 0 }, "headers"},
		"limit 0":          {func(s *Snapshot) { limit(s).Limit = 0 }, "limits[pay]: limit is 0"},
		"window 0":         {func(s *Snapshot) { limit(s).WindowSeconds = 0 }, "window_seconds"},
		"no algorithm":     {func(s *Snapshot) { limit(s).Algorithm = 0 }, "algorithm"},
		"burst":            {func(s *Snapshot) { limit(s).Burst = 1 }, "burst"},
		"no scope":         {func(s *Snapshot) { limit(s).Scope = 0 }, "scope"},
		"no missing key":   {func(s *Snapshot) { limit(s).OnMissingKey = 0 }, "on_missing_key"},
		"empty key":        {func(s *Snapshot) { limit(s).Key[0].Kind = nil }, "key[0]"},
		"upper case key":   {func(s *Snapshot) { limit(s).Key[0].Kind = &KeyPart_Header{Header: "X"} }, "lower case"},
		"empty match":      {func(s *Snapshot) { limit(s).Match[0].Kind = nil }, "match[0]"},
		"methods unsorted": {func(s *Snapshot) { limit(s).Match[0].GetHttp().Methods = []string{"POST", "GET"} }, "methods"},
		"small heads":      {func(s *Snapshot) { s.Proxy = &Proxy{HeadBytes: 4095} }, "proxy.head_bytes 4095"},
		"large heads":      {func(s *Snapshot) { s.Proxy = &Proxy{HeadBytes: 1<<20 + 1} }, "proxy.head_bytes"},
		"connections":      {func(s *Snapshot) { s.Proxy = &Proxy{Connections: 1<<20 + 1} }, "proxy.connections"},
		"idle":             {func(s *Snapshot) { s.Proxy = &Proxy{IdleMilliseconds: 999} }, "proxy.idle_milliseconds 999"},
		"stall":            {func(s *Snapshot) { s.Proxy = &Proxy{StallMilliseconds: 86400001} }, "proxy.stall_milliseconds"},
		"connect":          {func(s *Snapshot) { s.Proxy = &Proxy{ConnectMilliseconds: 1 << 63} }, "proxy.connect_milliseconds"},
		"log mode":         {func(s *Snapshot) { s.Telemetry = &Telemetry{AccessLog: &AccessLog{Mode: 9}} }, "telemetry.access_log.mode 9"},
		"log sample": {func(s *Snapshot) {
			s.Telemetry = &Telemetry{AccessLog: &AccessLog{Mode: AccessLog_MODE_SAMPLED, SamplePerMillion: 1000001}}
		}, "telemetry.access_log.sample_per_million"},
		"no sample": {func(s *Snapshot) {
			s.Telemetry = &Telemetry{AccessLog: &AccessLog{Mode: AccessLog_MODE_SAMPLED}}
		}, "telemetry.access_log.sample_per_million 0"},
		"endpoint": {func(s *Snapshot) { s.Telemetry = &Telemetry{Tracing: &Tracing{Endpoint: "otel"}} }, `telemetry.tracing.endpoint "otel"`},
		"spans": {func(s *Snapshot) {
			s.Telemetry = &Telemetry{Tracing: &Tracing{Endpoint: "otel:4317", SamplePerMillion: 1000001}}
		}, "telemetry.tracing.sample_per_million"},
		"body":          {func(s *Snapshot) { s.Ports[0].MaxBodyBytes = 1 << 63 }, "ports[8080]: max_body_bytes"},
		"prefix":        {func(s *Snapshot) { timeouts(s, "/a/") }, `timeouts[0].prefix "/a/"`},
		"prefix dots":   {func(s *Snapshot) { timeouts(s, "/a/../b") }, `timeouts[0].prefix "/a/../b"`},
		"prefix order":  {func(s *Snapshot) { timeouts(s, "/a", "/bb") }, `timeouts[1]: "/bb" follows "/a"`},
		"prefix twice":  {func(s *Snapshot) { timeouts(s, "/a", "/a") }, `timeouts[1]: "/a" follows "/a"`},
		"long response": {func(s *Snapshot) { timeouts(s, "/"); s.Ports[0].Timeouts[0].ResponseMilliseconds = 86400001 }, "timeouts[0].response_milliseconds"},
		"path type":     {func(s *Snapshot) { limit(s).Match[0].GetHttp().Path = &PathMatch{Value: "/"} }, "path.type"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := good()
			c.spoil(s)
			if err := Validate(s); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func timeouts(s *Snapshot, prefixes ...string) {
	for _, p := range prefixes {
		s.Ports[0].Timeouts = append(s.Ports[0].Timeouts, &RouteTimeout{Prefix: p, ResponseMilliseconds: 1000})
	}
}

func TestValidateSettings(t *testing.T) {
	s := good()
	s.Proxy = &Proxy{HeadBytes: 4096, Connections: 1, IdleMilliseconds: 1000, StallMilliseconds: 86400000, ConnectMilliseconds: 60000}
	s.Telemetry = &Telemetry{
		AccessLog: &AccessLog{Mode: AccessLog_MODE_SAMPLED, SamplePerMillion: 1},
		Tracing:   &Tracing{Endpoint: "otel.example:4317", SamplePerMillion: 1_000_000, Tls: &TLS{ServerName: "otel"}},
	}
	timeouts(s, "/reports/big", "/a", "/b", "/")
	s.Ports[0].MaxBodyBytes = 1<<63 - 1
	if err := Validate(s); err != nil {
		t.Error(err)
	}
}

func TestHash(t *testing.T) {
	a := Hash(good())
	if len(a) != 20 {
		t.Errorf("hash %q has %d digits", a, len(a))
	}
	if b := Hash(proto.CloneOf(good())); a != b {
		t.Errorf("equal snapshots: %s and %s", a, b)
	}
	other := good()
	other.RateLimitPolicies[0].Generation++
	if b := Hash(other); a == b {
		t.Error("another generation has the same hash")
	}
}
