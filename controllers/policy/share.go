// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"fmt"
	"maps"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/api/v1alpha1"
)

// sharedBy are the stores that policies of a namespace use with the credentials that
// all namespaces have which have none of their own.
func (r *Reconciler) sharedBy(limits []v1alpha1.RateLimitPolicy, idempotency []v1alpha1.IdempotencyPolicy) map[string]bool {
	out := map[string]bool{}
	add := func(ref v1alpha1.StoreRef, ns string) {
		name := string(ref.Name)
		if name == "" {
			name = "default"
		}
		if s, known := r.Config.Store(name); known && s.NamespaceCredentials[ns] == "" {
			out[name] = true
		}
	}
	for i := range limits {
		p := &limits[i]
		for j := range p.Spec.Limits {
			if p.Spec.Limits[j].Scope != v1alpha1.LimitScopePod {
				add(p.Spec.StoreRef, p.Namespace)
			}
		}
	}
	for i := range idempotency {
		add(idempotency[i].Spec.StoreRef, idempotency[i].Namespace)
	}
	return out
}

// sharedStores are those that other namespaces than ns use with the credentials that
// ns has for them.
func (r *Reconciler) sharedStores(ctx context.Context, ns string) (map[string]bool, error) {
	var limits v1alpha1.RateLimitPolicyList
	var idempotency v1alpha1.IdempotencyPolicyList
	for _, list := range []client.ObjectList{&limits, &idempotency} {
		if err := r.Reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("list %T: %w", list, err)
		}
	}
	var otherLimits []v1alpha1.RateLimitPolicy
	for i := range limits.Items {
		if limits.Items[i].Namespace != ns {
			otherLimits = append(otherLimits, limits.Items[i])
		}
	}
	var otherIdempotency []v1alpha1.IdempotencyPolicy
	for i := range idempotency.Items {
		if idempotency.Items[i].Namespace != ns {
			otherIdempotency = append(otherIdempotency, idempotency.Items[i])
		}
	}
	out := r.sharedBy(otherLimits, otherIdempotency)
	maps.DeleteFunc(out, func(name string, _ bool) bool {
		s, _ := r.Config.Store(name)
		return s.NamespaceCredentials[ns] != ""
	})
	return out, nil
}

// share remembers what a namespace uses; where that is something else than before, the
// others that use it are looked at again. Before everything has been published once
// there is no need: each is read with all others.
func (r *Reconciler) share(ns string, uses map[string]bool) {
	before := r.uses[ns]
	r.uses[ns] = uses
	if len(uses) == 0 {
		delete(r.uses, ns)
	}
	if maps.Equal(before, uses) || r.queue == nil || !r.Synced() {
		return
	}
	for other, theirs := range r.uses {
		if other == ns {
			continue
		}
		for store := range theirs {
			if before[store] != uses[store] {
				r.enqueue(other, r.queue)
				break
			}
		}
	}
}
