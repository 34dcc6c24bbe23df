// SPDX-License-Identifier: Apache-2.0

package configserver

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/controllers/hub"
)

var gateways = Account{Namespace: "weir-system", Name: "weir-operator"}

// fleetOf opens a stream with a token.
func (f *fixture) fleetOf(t *testing.T, token string, h *stream.FleetHello) stream.Config_FleetClient {
	t.Helper()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token))
	t.Cleanup(cancel)
	s, err := stream.NewConfigClient(f.conn).Fleet(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Only pods of the one ServiceAccount are told what governs others.
func TestFleetIsForGateways(t *testing.T) {
	with := func(o *Options) { o.Gateways = gateways }
	for name, c := range map[string]struct {
		change func(*Options)
		token  string
		hello  *stream.FleetHello
		want   codes.Code
		says   string
	}{
		"no such ServiceAccount is named": {nil, "operator", nil, codes.PermissionDenied, "weir-system/weir-operator may not"},
		"a sidecar":                       {with, "one", nil, codes.PermissionDenied, "shop/default may not"},
		"the name, in another namespace":  {with, "imposter", nil, codes.PermissionDenied, "shop/weir-operator may not"},
		"a stranger":                      {with, "stranger", nil, codes.Unauthenticated, "not accepted"},
		"bound to no pod":                 {func(o *Options) { o.Gateways = Account{"shop", "default"} }, "unbound", nil, codes.PermissionDenied, "not bound to a pod"},
		"a pod that is gone":              {func(o *Options) { o.Gateways = Account{"shop", "default"} }, "unseen", nil, codes.Unavailable, "not known here yet"},
		"a pod of that name, another one": {func(o *Options) { o.Gateways = Account{"shop", "default"} }, "recreated", nil, codes.Unavailable, "not known here yet"},
		"too many features":               {with, "operator", &stream.FleetHello{Features: make([]string, maxFeatures+1)}, codes.InvalidArgument, "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, c.change)
			f.hub.Publish(workload, publication(1))
			_, err := f.fleetOf(t, c.token, c.hello).Recv()
			if status.Code(err) != c.want || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %s that says %q", err, c.want, c.says)
			}
		})
	}
	f := start(t, with)
	f.synced.Store(false)
	if _, err := f.fleetOf(t, "operator", nil).Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("before caches are synced: %v", err)
	}
}

// named is publication with names for its port, a store for its policy, and a port of
// another kind of policy, whose store and keys are not the gateways' business.
func named(generation int64, key string, names ...string) hub.Publication {
	p := publication(generation)
	p.Snapshot.Workload.Key = key
	p.Snapshot.Ports[0].Names = names
	p.Snapshot.Ports = append(p.Snapshot.Ports, &snapshot.Port{Number: 9090, Names: []string{"free/http"}, IdempotencyPolicy: "once"})
	p.Snapshot.RateLimitPolicies[0].Store = "default"
	p.Snapshot.IdempotencyPolicies = []*snapshot.IdempotencyPolicy{{Name: "once", Store: "records"}}
	p.Snapshot.Stores = []*snapshot.Store{{Name: "default"}, {Name: "records"}}
	p.Snapshot.NamespaceKeyVersion = "1"
	p.Secrets = proto.CloneOf(p.Secrets)
	p.Secrets.Stores = append(p.Secrets.Stores, &stream.StoreCredentials{Store: "records", Password: "r"})
	p.Secrets.NamespaceKey = &stream.NamespaceKey{Version: "1", Current: []byte("k")}
	p.Secrets.Keys = []*stream.UserKey{{Name: "k", Current: []byte("u")}}
	return p
}

func TestFleetStream(t *testing.T) {
	f := start(t, func(o *Options) { o.Gateways = gateways })
	f.hub.Publish(hub.Workload{Namespace: "shop", Key: "a"}, named(1, "a", "pay/80", "pay/http"))
	f.hub.Publish(hub.Workload{Namespace: "shop", Key: "b"}, named(1, "b", "other/http", "pay/http"))
	// Nothing that governs, nothing to tell.
	f.hub.Publish(hub.Workload{Namespace: "idle", Key: "c"}, hub.Publication{Snapshot: &snapshot.Snapshot{}})
	s := f.fleetOf(t, "operator", &stream.FleetHello{Features: []string{stream.FeatureRateLimit}})
	receive := func() *stream.FleetUpdate {
		t.Helper()
		u, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	port := func(number uint32, names ...string) *snapshot.Port {
		return &snapshot.Port{Number: number, Protocol: snapshot.Protocol_PROTOCOL_HTTP, RateLimitPolicy: "pay", Names: names}
	}
	update := func(generation int64) *stream.FleetUpdate {
		return &stream.FleetUpdate{
			Namespace: "shop",
			Snapshot: &snapshot.Snapshot{
				Workload:          &snapshot.Workload{Cluster: "c", Namespace: "shop", Key: "gateway"},
				Ports:             []*snapshot.Port{port(1, "pay/80", "pay/http"), port(2, "other/http")},
				RateLimitPolicies: []*snapshot.RateLimitPolicy{{Name: "pay", Generation: generation, Store: "default"}},
				Stores:            []*snapshot.Store{{Name: "default"}},
			},
			Secrets: publication(1).Secrets,
		}
	}
	if d := cmp.Diff(update(1), receive(), protocmp.Transform()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if u := receive(); !u.GetComplete() || u.GetNamespace() != "" {
		t.Errorf("%v, want the end of what there was", u)
	}
	// What is as it was is not sent again.
	f.hub.Publish(hub.Workload{Namespace: "shop", Key: "b"}, named(1, "b", "other/http", "pay/http"))
	f.hub.Publish(hub.Workload{Namespace: "shop", Key: "a"}, named(2, "a", "pay/80", "pay/http"))
	if d := cmp.Diff(update(2), receive(), protocmp.Transform()); d != "" {
		t.Errorf("after an edit (-want +got):\n%s", d)
	}
	f.hub.Delete(hub.Workload{Namespace: "shop", Key: "a"})
	if u := receive(); len(u.GetSnapshot().GetPorts()) != 1 || len(u.GetSnapshot().GetPorts()[0].GetNames()) != 2 {
		t.Errorf("with one workload left: %v", u)
	}
	f.hub.Delete(hub.Workload{Namespace: "shop", Key: "b"})
	if u := receive(); u.GetNamespace() != "shop" || u.GetSnapshot() != nil {
		t.Errorf("with none left: %v", u)
	}
	if n := len(f.tracker.Pods("weir-system")); n != 0 {
		t.Errorf("the rollout knows of %d pods", n)
	}

	// A service that is too old for a policy is told so, and not given it.
	f.hub.Publish(hub.Workload{Namespace: "old", Key: "o"}, func() hub.Publication {
		p := named(1, "o", "pay/http")
		p.Snapshot.Workload.Namespace = "old"
		p.Snapshot.RateLimitPolicies[0].Limits = []*snapshot.Limit{{Name: "l", Algorithm: snapshot.Algorithm_ALGORITHM_CONCURRENCY}}
		return p
	}())
	if u := receive(); len(u.GetSnapshot().GetRateLimitPolicies()) != 0 || cmp.Diff([]string{"RateLimitPolicy/pay"}, u.GetUnsupported()) != "" {
		t.Errorf("for an old service: %v", u)
	}

	// One pod has one stream.
	newer := f.fleetOf(t, "operator", &stream.FleetHello{})
	if _, err := newer.Recv(); err != nil {
		t.Error(err)
	}
	for {
		if _, err := s.Recv(); err != nil {
			if status.Code(err) != codes.Aborted {
				t.Errorf("the older stream: %v, want Aborted", err)
			}
			break
		}
	}
}
