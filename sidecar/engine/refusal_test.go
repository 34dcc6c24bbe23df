// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/engine"
)

func TestRefusalsChangeNothing(t *testing.T) {
	type snap = *snapshot.Snapshot
	policy := func(s snap) *snapshot.RateLimitPolicy { return s.RateLimitPolicies[0] }
	redis := func(s snap) *snapshot.Redis {
		policy(s).Store = "default"
		r := &snapshot.Redis{Mode: snapshot.Redis_MODE_STANDALONE, Addresses: []string{"redis:6379"}, KeyPrefix: "weir"}
		s.Stores = []*snapshot.Store{{Name: "default", Redis: r}}
		return r
	}
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 900, protowire.VarintType), 1)
	for name, tc := range map[string]struct {
		edit func(s snap)
		want engine.Refusal
	}{
		"cluster":     {func(s snap) { s.Workload.Cluster = "a:b" }, engine.Refusal{Reason: `workload.cluster "a:b" is no cluster id: letters, digits, '.', '_' and '-'.`}},
		"namespace":   {func(s snap) { s.Workload = nil }, engine.Refusal{Reason: `workload.cluster "" is no cluster id: letters, digits, '.', '_' and '-'.`}},
		"braces":      {func(s snap) { s.Workload.Namespace = "a{b" }, engine.Refusal{Reason: `workload.namespace "a{b" is no namespace.`}},
		"port":        {func(s snap) { s.Ports[0].Number = 70000 }, engine.Refusal{Reason: "Port 70000 is not between 1 and 65535."}},
		"port twice":  {func(s snap) { s.Ports[1].Number = 8080 }, engine.Refusal{Reason: "Port 8080 comes twice."}},
		"protocol":    {func(s snap) { s.Ports[0].Protocol = 99 }, engine.Refusal{Reason: "Port 8080: protocol 99 is unknown."}},
		"no protocol": {func(s snap) { s.Ports[0].Protocol = 0 }, engine.Refusal{Reason: "Port 8080: protocol 0 is unknown."}},
		"CIDR":        {func(s snap) { s.Ports[0].Identity = &snapshot.Identity{TrustedProxies: []string{"10/8"}} }, engine.Refusal{Reason: `Port 8080: identity: trusted proxy "10/8" is no CIDR.`}},
		"mapped CIDR": {func(s snap) {
			s.Ports[0].Identity = &snapshot.Identity{TrustedProxies: []string{"::ffff:10.0.0.0/104"}}
		}, engine.Refusal{Reason: `Port 8080: identity: trusted proxy "::ffff:10.0.0.0/104" is an IPv4 address written as IPv6.`}},
		"identity header": {func(s snap) { s.Ports[0].Identity = &snapshot.Identity{IdentityHeaders: []string{"X-A"}} }, engine.Refusal{Reason: `Port 8080: identity: header name "X-A" is empty, too long or not in lower case.`}},
		"dangling policy": {func(s snap) { s.Ports[0].RateLimitPolicy = "gone" }, engine.Refusal{Policy: "RateLimitPolicy/gone", Reason: "Port 8080 names the policy, but it is not in the snapshot."}},
		"opaque":          {func(s snap) { s.Ports[1].RateLimitPolicy = "payments" }, engine.Refusal{Policy: "RateLimitPolicy/payments", Reason: "Port 9090 is opaque: no policy can govern it."}},
		"policy twice":    {func(s snap) { s.RateLimitPolicies = append(s.RateLimitPolicies, policy(s)) }, engine.Refusal{Policy: "RateLimitPolicy/payments", Reason: "The policy comes twice."}},
		"policy's name":   {func(s snap) { policy(s).Name = "a/b" }, engine.Refusal{Reason: `RateLimitPolicy "a/b": the name is no Kubernetes name.`}},
		"long name": {func(s snap) { policy(s).Name = strings.Repeat("a", 254) }, engine.Refusal{
			Reason: `RateLimitPolicy "` + strings.Repeat("a", 254) + `": the name is no Kubernetes name.`}},
		"long limit": {func(s snap) { policy(s).Limits[0].Name = strings.Repeat("a", 64) }, engine.Refusal{
			Policy: "RateLimitPolicy/payments", Reason: `Limits[0] "` + strings.Repeat("a", 64) + `": the name is not lower case letters, digits and -, at most 63.`}},
		"algorithm":      {func(s snap) { policy(s).Limits[0].Algorithm = 77 }, engine.Refusal{Policy: "RateLimitPolicy/payments", Reason: `Limits[0] "per-client": algorithm 77 is unknown.`}},
		"overlarge":      {func(s snap) { policy(s).Limits[0].Limit = 1 << 40 }, engine.Refusal{Policy: "RateLimitPolicy/payments", Reason: `Limits[0] "per-client": limit 1099511627776 is not between 1 and 1000000 per second of its window.`}},
		"no store":       {func(s snap) { policy(s).Limits[0].Scope = snapshot.Scope_SCOPE_CLUSTER }, engine.Refusal{Policy: "RateLimitPolicy/payments", Reason: "A limit has scope Cluster, but the policy names no store."}},
		"dangling store": {func(s snap) { policy(s).Store = "gone" }, engine.Refusal{Policy: "RateLimitPolicy/payments", Reason: `store "gone" is not in the snapshot.`}},
		"store twice":    {func(s snap) { redis(s); s.Stores = append(s.Stores, s.Stores[0]) }, engine.Refusal{Reason: `Store "default" comes twice.`}},
		"store's name":   {func(s snap) { redis(s); s.Stores[0].Name = "" }, engine.Refusal{Reason: `Store "": the name is empty or longer than 256 bytes.`}},
		"mode":           {func(s snap) { redis(s).Mode = 9 }, engine.Refusal{Reason: `Store "default": mode 9 is unknown.`}},
		"address":        {func(s snap) { redis(s).Addresses = []string{"redis"} }, engine.Refusal{Reason: `Store "default": address "redis" is no host:port.`}},
		"two addresses":  {func(s snap) { redis(s).Addresses = []string{"a:1", "b:1"} }, engine.Refusal{Reason: `Store "default": mode Standalone needs one address, not 2.`}},
		"no address":     {func(s snap) { r := redis(s); r.Mode, r.Addresses = snapshot.Redis_MODE_CLUSTER, nil }, engine.Refusal{Reason: `Store "default": 0 addresses, 1 to 64 are possible.`}},
		"no master":      {func(s snap) { redis(s).Mode = snapshot.Redis_MODE_SENTINEL }, engine.Refusal{Reason: `Store "default": mode Sentinel needs master_name.`}},
		"key prefix":     {func(s snap) { redis(s).KeyPrefix = "a{b" }, engine.Refusal{Reason: `Store "default": key_prefix "a{b" has characters that keys cannot have.`}},
		"CA":             {func(s snap) { redis(s).Tls = &snapshot.TLS{CaPem: "x"} }, engine.Refusal{Reason: `Store "default": tls.ca_pem has no certificate in PEM.`}},
		"unknown field":  {func(s snap) { policy(s).Limits[0].ProtoReflect().SetUnknown(unknown) }, engine.Refusal{Policy: "RateLimitPolicy/payments", Reason: "The policy has fields that this sidecar does not know; a newer sidecar is needed."}},
		"heads":          {func(s snap) { s.Proxy = &snapshot.Proxy{HeadBytes: 1} }, engine.Refusal{Reason: "proxy.head_bytes 1 is not between 4096 and 1048576."}},
		"sample": {func(s snap) {
			s.Telemetry = &snapshot.Telemetry{Tracing: &snapshot.Tracing{Endpoint: "otel:4317", SamplePerMillion: 1000001}}
		}, engine.Refusal{Reason: "telemetry.tracing.sample_per_million 1000001 is above 1000000."}},
		"timeout":         {func(s snap) { s.Ports[0].Timeouts = []*snapshot.RouteTimeout{{Prefix: "a"}} }, engine.Refusal{Reason: `Port 8080: timeouts[0].prefix "a" is no path of whole segments.`}},
		"body":            {func(s snap) { s.Ports[0].MaxBodyBytes = 1 << 63 }, engine.Refusal{Reason: "Port 8080: max_body_bytes 9223372036854775808 is above 9223372036854775807."}},
		"unknown on port": {func(s snap) { s.Ports[0].ProtoReflect().SetUnknown(unknown) }, engine.Refusal{Reason: "The snapshot has fields that this sidecar does not know; a newer sidecar is needed."}},
		"too many ports":  {func(s snap) { s.Ports = make([]*snapshot.Port, 2000) }, engine.Refusal{Reason: "The snapshot has 2000 ports, 1 policies and 0 stores; at most 1024, 256 and 64 are possible."}},
		"too large":       {func(s snap) { s.Workload.Key = strings.Repeat("x", 9<<20) }, engine.Refusal{Reason: "The snapshot has 9437288 bytes, at most 8388608 are possible."}},
	} {
		t.Run(name, func(t *testing.T) {
			e := engine.New(engine.Options{})
			defer e.Close()
			apply(t, e, podPolicy(2))
			serve(t, e, 8080, get("/", "a"))
			s := podPolicy(9)
			tc.edit(s)
			err := e.Apply(s)
			var got *engine.Refusal
			if !errors.As(err, &got) {
				t.Fatalf("Apply: %v, want a refusal", err)
			}
			if diff := cmp.Diff(tc.want, *got); diff != "" {
				t.Error(diff)
			}
			for i, want := range []int{200, 429} {
				if got := serve(t, e, 8080, get("/", "a")); got != want {
					t.Errorf("request %d after the refusal: got %d, want %d", i, got, want)
				}
			}
		})
	}
}

func TestNothingServesAfterARefusedFirst(t *testing.T) {
	e := engine.New(engine.Options{})
	defer e.Close()
	if e.Apply(nil) == nil || e.Apply(&snapshot.Snapshot{}) == nil {
		t.Error("an empty snapshot was taken")
	}
	select {
	case <-e.Ready():
		t.Error("ready without a program")
	default:
	}
	e.Close()
	if e.Apply(podPolicy(1)) == nil {
		t.Error("a closed engine took a snapshot")
	}
}
