// SPDX-License-Identifier: Apache-2.0

package configserver

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/controllers/hub"
)

// Account names a ServiceAccount; the zero value names none.
type Account struct{ Namespace, Name string }

// Fleet serves one rate limit service until it goes, MaxAge is over or the server
// stops.
func (s *Server) Fleet(h *stream.FleetHello, conn grpc.ServerStreamingServer[stream.FleetUpdate]) error {
	if !s.opts.Synced() {
		return status.Error(codes.Unavailable, "the operator is starting")
	}
	pod, err := s.gatewayOf(conn.Context())
	if err != nil {
		return err
	}
	if err := checkHello(&stream.Hello{Version: h.GetVersion(), Features: h.GetFeatures()}); err != nil {
		return err
	}
	replaced, release := s.takeOver(pod)
	defer release()
	defer s.opts.Metrics.stream()()
	sub := s.opts.Hub.SubscribeAll()
	defer sub.Close()
	s.opts.Log.Debug("rate limit service connected", "namespace", pod.Namespace, "pod", pod.Name, "version", printable(h.GetVersion(), maxName))
	f := &fleet{features: h.GetFeatures(), sent: map[string]*stream.FleetUpdate{}}
	age := time.NewTimer(jitter(s.opts.MaxAge))
	defer age.Stop()
	for {
		select {
		case <-conn.Context().Done():
			return conn.Context().Err()
		case <-s.stop:
			return errStopping
		case <-replaced:
			return errReplaced
		case <-age.C:
			return errAged
		case <-sub.Changed():
		}
		for _, u := range f.see(sub.Take()) {
			if err := conn.Send(u); err != nil {
				return err
			}
		}
	}
}

// gatewayOf returns the live pod of the gateways' ServiceAccount that the caller's
// token is bound to. Whoever has such a token learns all policies and credentials.
func (s *Server) gatewayOf(ctx context.Context) (hub.Pod, error) {
	id, err := identify(ctx, s.opts.Auth)
	if err != nil {
		return hub.Pod{}, err
	}
	if s.opts.Gateways == (Account{}) || (Account{id.Namespace, id.ServiceAccount}) != s.opts.Gateways {
		return hub.Pod{}, status.Errorf(codes.PermissionDenied, "ServiceAccount %s/%s may not call this", id.Namespace, id.ServiceAccount)
	}
	pod, _, err := s.live(ctx, id)
	return pod, err
}

// fleet is what a rate limit service has been told.
type fleet struct {
	features []string
	// sent by namespace; those that govern nothing are not in it.
	sent     map[string]*stream.FleetUpdate
	complete bool
}

// see returns what the service must be told, in order.
func (f *fleet) see(changed map[string][]hub.Publication) []*stream.FleetUpdate {
	var out []*stream.FleetUpdate
	for _, ns := range slices.Sorted(maps.Keys(changed)) {
		u := f.update(ns, changed[ns])
		switch {
		case u.Snapshot == nil && f.sent[ns] == nil, proto.Equal(u, f.sent[ns]):
			continue
		case u.Snapshot == nil:
			delete(f.sent, ns)
		default:
			f.sent[ns] = u
		}
		out = append(out, u)
	}
	if !f.complete {
		f.complete = true
		out = append(out, &stream.FleetUpdate{Complete: true})
	}
	return out
}

// update merges the workloads of a namespace: a port of a Service is one domain, by
// whichever of its pods it is found. Where they differ, the first workload's holds.
func (f *fleet) update(ns string, pubs []hub.Publication) *stream.FleetUpdate {
	u := &stream.FleetUpdate{Namespace: ns}
	snap := &snapshot.Snapshot{}
	secrets := map[string]*stream.StoreCredentials{}
	seen := map[string]bool{}
	for _, p := range pubs {
		before := len(snap.Ports)
		for _, port := range p.Snapshot.GetPorts() {
			if names := unseen(port, seen); len(names) > 0 {
				snap.Ports = append(snap.Ports, &snapshot.Port{
					Number: uint32(len(snap.Ports) + 1), Protocol: port.GetProtocol(), RateLimitPolicy: port.GetRateLimitPolicy(),
					Identity: port.GetIdentity(), PassEncodedSlashes: port.GetPassEncodedSlashes(), Names: names,
				})
			}
		}
		if len(snap.Ports) == before {
			continue
		}
		snap.Workload = &snapshot.Workload{Cluster: p.Snapshot.GetWorkload().GetCluster(), Namespace: ns, Key: "gateway"}
		snap.RateLimitPolicies = append(snap.RateLimitPolicies, p.Snapshot.GetRateLimitPolicies()...)
		snap.Stores = append(snap.Stores, p.Snapshot.GetStores()...)
		for _, c := range p.Secrets.GetStores() {
			secrets[c.GetStore()] = c
		}
	}
	// What only other kinds of policies use is not the gateways' business.
	counting := map[string]bool{}
	for _, p := range snap.RateLimitPolicies {
		counting[p.GetStore()] = true
	}
	snap.Stores = slices.DeleteFunc(snap.Stores, func(s *snapshot.Store) bool { return !counting[s.GetName()] })
	maps.DeleteFunc(secrets, func(store string, _ *stream.StoreCredentials) bool { return !counting[store] })
	if len(snap.Ports) == 0 {
		return u
	}
	snap.RateLimitPolicies = byName(snap.RateLimitPolicies)
	snap.Stores = byName(snap.Stores)
	u.Snapshot, u.Unsupported = stream.Cut(snap, f.features)
	u.Secrets = &stream.Secrets{Stores: slices.SortedFunc(maps.Values(secrets), func(a, b *stream.StoreCredentials) int {
		return cmp.Compare(a.GetStore(), b.GetStore())
	})}
	return u
}

// unseen are the names of a governed port that are new.
func unseen(port *snapshot.Port, seen map[string]bool) []string {
	if port.GetRateLimitPolicy() == "" {
		return nil
	}
	var out []string
	for _, name := range port.GetNames() {
		if !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}

// byName sorts, and takes out what comes again.
func byName[T interface{ GetName() string }](list []T) []T {
	slices.SortStableFunc(list, func(a, b T) int { return strings.Compare(a.GetName(), b.GetName()) })
	return slices.CompactFunc(list, func(a, b T) bool { return a.GetName() == b.GetName() })
}
