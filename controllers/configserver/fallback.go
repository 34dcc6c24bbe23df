// SPDX-License-Identifier: Apache-2.0

package configserver

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
)

// policyNamed returns the policy kind/name of a snapshot; nil: it has none.
func policyNamed(s *snapshot.Snapshot, policy string) snapshot.Policy {
	kind, name, _ := strings.Cut(policy, "/")
	return snapshot.Find(s, snapshot.PolicyID{Kind: kind, Name: name})
}

// samePolicy reports whether both snapshots have the policy kind/name alike.
func samePolicy(a, b *snapshot.Snapshot, policy string) bool {
	x, y := policyNamed(a, policy), policyNamed(b, policy)
	if x == nil || y == nil {
		return x == nil && y == nil
	}
	return proto.Equal(x, y)
}

// fallback is want with each refused policy as serving has it; where serving has
// none, without it and with the ports it governs as they have been so far. serving
// is nil for a sidecar that serves nothing yet.
func fallback(want, serving *snapshot.Snapshot, refused map[string]*stream.Nack) *snapshot.Snapshot {
	out := proto.CloneOf(want)
	var policies, former []snapshot.Policy
	gone := map[snapshot.PolicyID]bool{}
	for p := range snapshot.Policies(out) {
		id := snapshot.IDOf(p)
		if refused[id.String()] != nil {
			old := snapshot.Find(serving, id)
			if old == nil {
				gone[id] = true
				continue
			}
			p, _ = proto.Clone(old).(snapshot.Policy)
			former = append(former, p)
		}
		policies = append(policies, p)
	}
	snapshot.SetPolicies(out, policies)
	ports := out.GetPorts()[:0]
	for _, p := range out.GetPorts() {
		if slices.ContainsFunc(snapshot.Governing(p), func(id snapshot.PolicyID) bool { return gone[id] }) {
			if p = without(gone, p, out, serving); p == nil {
				continue
			}
		}
		ports = append(ports, p)
	}
	out.Ports = ports
	for _, p := range former {
		keepRefs(out, serving, p)
	}
	return out
}

// without is the port without the policies that are gone. One that nothing else governs
// is as it is where serving has it; nil: it is not there. At others the policies that
// governed it there come back, by kind. A refusal must not take an older policy away, as
// long as out has it too.
func without(gone map[snapshot.PolicyID]bool, port *snapshot.Port, out, serving *snapshot.Snapshot) *snapshot.Port {
	var before *snapshot.Port
	for _, p := range serving.GetPorts() {
		if p.GetNumber() == port.GetNumber() {
			before = proto.CloneOf(p)
		}
	}
	were := snapshot.Governing(before)
	for _, id := range were {
		if snapshot.Find(out, id) == nil {
			snapshot.Govern(before, snapshot.PolicyID{Kind: id.Kind})
		}
	}
	kept := 0
	for _, id := range snapshot.Governing(port) {
		if !gone[id] {
			kept++
			continue
		}
		snapshot.Govern(port, snapshot.PolicyID{Kind: id.Kind})
		for _, old := range snapshot.Governing(before) {
			if old.Kind == id.Kind {
				snapshot.Govern(port, old)
			}
		}
	}
	switch {
	case kept > 0:
		return port
	case before == nil, len(were) > 0 && len(snapshot.Governing(before)) == 0:
		return nil
	}
	return before
}

// keepRefs gives out what of serving only an old policy still names.
func keepRefs(out, serving *snapshot.Snapshot, p snapshot.Policy) {
	out.Stores = keep(out.GetStores(), serving.GetStores(), p.GetStore())
	for name := range snapshot.JWTClaims(p) {
		out.JwtProviders = keep(out.GetJwtProviders(), serving.GetJwtProviders(), name)
	}
	if snapshot.NeedsNamespaceKey(p) && out.GetNamespaceKeyVersion() == "" {
		out.NamespaceKeyVersion = serving.GetNamespaceKeyVersion()
	}
}

func keep[T interface {
	proto.Message
	GetName() string
}](list, from []T, name string) []T {
	named := func(x T) bool { return x.GetName() == name }
	i := slices.IndexFunc(from, named)
	if i < 0 || slices.ContainsFunc(list, named) {
		return list
	}
	list = append(list, proto.CloneOf(from[i]))
	slices.SortFunc(list, func(a, b T) int { return strings.Compare(a.GetName(), b.GetName()) })
	return list
}
