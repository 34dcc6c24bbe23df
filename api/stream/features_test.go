// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"weir.dev/weir/api/snapshot"
)

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
