// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"weir.dev/weir/api/stream"
)

// table is the states that one replica knows: by namespace, then uid.
type table map[string]map[string]*stream.PodState

func (t table) put(p *stream.PodState) {
	ns := t[p.GetNamespace()]
	if ns == nil {
		ns = map[string]*stream.PodState{}
		t[p.GetNamespace()] = ns
	}
	ns[p.GetUid()] = p
}

func (t table) remove(namespace, uid string) {
	delete(t[namespace], uid)
	if len(t[namespace]) == 0 {
		delete(t, namespace)
	}
}

// merge puts the states of a namespace into best where they are better.
func (t table) merge(namespace string, best map[string]*stream.PodState) {
	for uid, p := range t[namespace] {
		if b := best[uid]; b == nil || better(p, b) {
			best[uid] = p
		}
	}
}

// better reports whether a says more of the pod than b: the newest that is
// connected, else the newest.
func better(a, b *stream.PodState) bool {
	if a.GetConnected() != b.GetConnected() {
		return a.GetConnected()
	}
	return a.GetSince().AsTime().After(b.GetSince().AsTime())
}

// away says of every pod that it is not connected, and returns the namespaces that
// changed.
func (t table) away(since *timestamppb.Timestamp) map[string]struct{} {
	changed := map[string]struct{}{}
	for ns, pods := range t {
		for uid, p := range pods {
			if !p.GetConnected() {
				continue
			}
			p = proto.CloneOf(p)
			p.Connected, p.Since = false, since
			pods[uid] = p
			changed[ns] = struct{}{}
		}
	}
	return changed
}

func (t table) namespaces(set map[string]struct{}) {
	for ns := range t {
		set[ns] = struct{}{}
	}
}

// sweep removes what has not been connected since before, and returns the
// namespaces that changed.
func (t table) sweep(before time.Time) []string {
	var changed []string
	for ns, pods := range t {
		n := len(pods)
		for uid, p := range pods {
			if !p.GetConnected() && p.GetSince().AsTime().Before(before) {
				t.remove(ns, uid)
			}
		}
		if len(pods) != n {
			changed = append(changed, ns)
		}
	}
	return changed
}

// all returns every state, in no order.
func (t table) all() []*stream.PodState {
	var out []*stream.PodState
	for _, pods := range t {
		for _, p := range pods {
			out = append(out, p)
		}
	}
	return out
}
