// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/exchange"
)

// addressPolicy counts by the client's address, in Shadow so that all pass.
func addressPolicy(trusted ...string) *snapshot.Snapshot {
	s := podPolicy(1)
	l := s.RateLimitPolicies[0].Limits[0]
	l.Key = []*snapshot.KeyPart{{Kind: &snapshot.KeyPart_ClientIp{ClientIp: &snapshot.ClientIP{Ipv6PrefixLength: 64}}}}
	l.Shadow = true
	s.Ports[0].Identity = &snapshot.Identity{TrustedProxies: trusted}
	return s
}

// request is one of peer n of a network; forwarded: it carries X-Forwarded-For.
func request(network string, n int, forwarded bool) *exchange.Exchange {
	x := get("/", "a")
	x.Peer = netip.MustParseAddr(fmt.Sprintf("%s%d", network, n))
	x.Client = x.Peer
	if forwarded {
		x.Request = headers{{"x-forwarded-for", "203.0.113.9"}}
	}
	return x
}

var fewPeersAt8080 = []*stream.PortProblem{{Kind: stream.PortProblem_KIND_FEW_PEERS, Port: 8080}}

func TestCrowd(t *testing.T) {
	const enough = 64 * 64
	for name, c := range map[string]struct {
		policy  *snapshot.Snapshot
		request func(i int) *exchange.Exchange
		n       int
		want    []*stream.PortProblem
	}{
		"an ingress of three pods": {addressPolicy(), func(i int) *exchange.Exchange { return request("10.0.0.", i%3+1, true) }, enough, fewPeersAt8080},
		"one, and a few others": {addressPolicy(), func(i int) *exchange.Exchange {
			return request("10.0.0.", 1+i/64%50/48*(i/64%9), i/64%50 < 48)
		}, enough, fewPeersAt8080},
		"too few requests":         {addressPolicy(), func(int) *exchange.Exchange { return request("10.0.0.", 1, true) }, 31 * 64, nil},
		"four pods":                {addressPolicy(), func(i int) *exchange.Exchange { return request("10.0.0.", i/64%4+1, true) }, enough, nil},
		"many peers":               {addressPolicy(), func(i int) *exchange.Exchange { return request("10.0.0.", i/64%200, true) }, enough, nil},
		"a tenth goes past it":     {addressPolicy(), func(i int) *exchange.Exchange { return request("10.0.0.", 1, i/64%10 != 0) }, enough, nil},
		"nobody forwards":          {addressPolicy(), func(int) *exchange.Exchange { return request("10.0.0.", 1, false) }, enough, nil},
		"the ingress is trusted":   {addressPolicy("10.0.0.0/8"), func(int) *exchange.Exchange { return request("10.0.0.", 1, true) }, enough, nil},
		"nothing counts addresses": {podPolicy(1 << 20), func(int) *exchange.Exchange { return request("10.0.0.", 1, true) }, enough, nil},
	} {
		t.Run(name, func(t *testing.T) {
			e := engine.New(engine.Options{})
			defer e.Close()
			apply(t, e, c.policy)
			for i := range c.n {
				serve(t, e, 8080, c.request(i))
			}
			if d := cmp.Diff(c.want, e.Report().GetProblems(), protocmp.Transform()); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// A crowd outlives another snapshot, goes when its proxies are trusted, and is
// forgotten when clients come by themselves.
func TestCrowdGoes(t *testing.T) {
	e := engine.New(engine.Options{})
	defer e.Close()
	crowd := func() bool { return len(e.Report().GetProblems()) > 0 }
	apply(t, e, addressPolicy())
	for range 64 * 32 {
		serve(t, e, 8080, request("10.0.0.", 1, true))
	}
	if !crowd() {
		t.Fatal("no crowd")
	}
	again := addressPolicy()
	again.RateLimitPolicies[0].Generation++
	apply(t, e, again)
	if !crowd() {
		t.Error("another snapshot forgets it")
	}
	for i := range 64 * 1024 {
		serve(t, e, 8080, request("10.0.1.", i/64%200, true))
	}
	if crowd() {
		t.Error("it stays though clients come by themselves")
	}
	apply(t, e, addressPolicy("10.0.0.0/16"))
	for range 64 * 64 {
		serve(t, e, 8080, request("10.0.0.", 1, true))
	}
	if crowd() {
		t.Error("it stays though the peer is trusted")
	}
}
