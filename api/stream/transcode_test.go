// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"slices"
	"testing"

	"weir.dev/weir/api/snapshot"
)

// A sidecar that cannot make calls does not get the port: as one of HTTP it would answer
// for an application that speaks none.
func TestCutTranscoding(t *testing.T) {
	s := &snapshot.Snapshot{Ports: []*snapshot.Port{
		{Number: 80, Protocol: snapshot.Protocol_PROTOCOL_HTTP, Transcoding: &snapshot.Transcoding{}, RateLimitPolicy: "p"},
		{Number: 81, Protocol: snapshot.Protocol_PROTOCOL_HTTP, RateLimitPolicy: "p"},
	}, RateLimitPolicies: []*snapshot.RateLimitPolicy{{Name: "p"}}}
	cut, lacking := Cut(s, []string{FeatureRateLimit, FeatureThrift})
	if len(cut.GetPorts()) != 1 || cut.GetPorts()[0].GetNumber() != 81 || !slices.Equal(lacking, []string{"RateLimitPolicy/p"}) {
		t.Errorf("%v, lacking %v", cut, lacking)
	}
	if whole, lacking := Cut(s, []string{FeatureRateLimit, FeatureTranscode}); whole != s || len(lacking) > 0 {
		t.Errorf("%v, lacking %v", whole, lacking)
	}
}
