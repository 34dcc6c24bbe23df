// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"strings"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/telemetry/trace"
)

// ResourceOf says whose spans those of a snapshot are; nil is a snapshot too. The
// service is the first Service that leads to the pod's ports, or the pod where
// none does.
func ResourceOf(s *snapshot.Snapshot, namespace, pod string) trace.Resource {
	r := trace.Resource{Service: pod, Namespace: namespace, Pod: pod}
	if r.Namespace == "" {
		r.Namespace = s.GetWorkload().GetNamespace()
	}
	for _, p := range s.GetPorts() {
		for _, name := range p.GetNames() {
			if service, _, ok := strings.Cut(name, "/"); ok && service != "" {
				r.Service = service
				return r
			}
		}
	}
	return r
}
