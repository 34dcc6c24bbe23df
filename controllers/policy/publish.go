// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"google.golang.org/protobuf/proto"

	"weir.dev/weir/controllers/attach"
	"weir.dev/weir/controllers/compile"
	"weir.dev/weir/controllers/hub"
)

// published is what the hub has of a namespace.
type published struct {
	workloads map[hub.Workload]hub.Publication
	pods      map[hub.Pod]hub.Workload
}

// publish brings the hub up to date. Workloads come before the pods that are
// assigned to them, and go after the pods have left.
func (r *Reconciler) publish(ns string, out compile.Output, own secrets) {
	before := r.published[ns]
	now := published{workloads: map[hub.Workload]hub.Publication{}, pods: map[hub.Pod]hub.Workload{}}
	for i := range out.Workloads {
		w := &out.Workloads[i]
		key := hub.Workload{Namespace: ns, Key: w.Key}
		pub := hub.Publication{Snapshot: w.Snapshot, Secrets: own.secretsFor(w.Snapshot), Peers: w.Peers}
		if old, ok := before.workloads[key]; ok && equal(old, pub) {
			pub = old
		} else {
			r.Hub.Publish(key, pub)
		}
		now.workloads[key] = pub
		now.add(ns, w.Pods, key)
	}
	now.add(ns, out.Unselected, hub.Workload{Namespace: ns})
	for pod, w := range now.pods {
		r.Hub.Assign(pod, w)
	}
	for pod := range before.pods {
		if _, there := now.pods[pod]; !there {
			r.Hub.Forget(pod)
			r.Rollout.Forget(pod.Namespace, pod.UID)
		}
	}
	for w := range before.workloads {
		if _, there := now.workloads[w]; !there {
			r.Hub.Delete(w)
		}
	}
	if len(now.pods) == 0 && len(now.workloads) == 0 {
		delete(r.published, ns)
		return
	}
	r.published[ns] = now
}

// add assigns the injected of some pods.
func (p *published) add(ns string, pods []attach.Pod, w hub.Workload) {
	for i := range pods {
		if pods[i].Sidecar {
			p.pods[hub.Pod{Namespace: ns, Name: pods[i].Name, UID: pods[i].UID}] = w
		}
	}
}

func equal(a, b hub.Publication) bool {
	return proto.Equal(a.Snapshot, b.Snapshot) && proto.Equal(a.Secrets, b.Secrets) && proto.Equal(a.Peers, b.Peers)
}
