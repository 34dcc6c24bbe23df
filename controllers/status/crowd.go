// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"slices"
	"strings"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/attach"
)

// crowded are the ports of the target at which pods of it see few peers that speak
// for others, where a limit counts by address.
func (o *Observation) crowded(t *attach.Target) []uint16 {
	if len(o.Verdict.ByAddress) == 0 {
		return nil
	}
	seen := map[uint16]bool{}
	for i := range t.Pods {
		if !t.Pods[i].Ready {
			continue
		}
		for _, p := range o.Pods[t.Pods[i].UID].GetReport().GetProblems() {
			if port := uint16(p.GetPort()); p.GetKind() == stream.PortProblem_KIND_FEW_PEERS && slices.Contains(t.Ports, port) {
				seen[port] = true
			}
		}
	}
	return sorted(seen)
}

func (o *Observation) crowdWarning(ports []uint16) string {
	by := o.Verdict.ByAddress
	count := "Limit " + by[0] + " counts by clientIP, and so everybody behind such a peer as one client"
	switch {
	case o.Verdict.Policy.Kind == v1alpha1.KindIdempotencyPolicy:
		count = "The policy's scope has clientIP, and so everybody behind such a peer is one client, who is answered what others have been"
	case len(by) > 1:
		count = "Limits " + strings.Join(by, ", ") + " count by clientIP, and so everybody behind such a peer as one client"
	}
	return fmt.Sprintf("Warning: Over 90 %% of the requests to container port %s come from three peers or fewer and carry X-Forwarded-For. %s: "+
		"if it is your ingress, list its addresses in identity.trustedProxies of the operator's "+
		"configuration or in the Service's annotation %s.", numbers(ports), count, attach.AnnotationTrustedProxies)
}

// evictionWarning is about the store of records; empty where nobody sees that it loses
// them.
func (o *Observation) evictionWarning(pods []attach.Pod) string {
	if o.Verdict.Policy.Kind != v1alpha1.KindIdempotencyPolicy {
		return ""
	}
	for i := range pods {
		for _, s := range o.Pods[pods[i].UID].GetReport().GetStores() {
			if s.GetKind() != stream.StoreProblem_KIND_EVICTION || s.GetStore() != o.Verdict.Store {
				continue
			}
			policy := ""
			if s.GetDetail() != "" {
				policy = " (maxmemory-policy " + s.GetDetail() + ")"
			}
			return fmt.Sprintf("Warning: Store %q removes keys when its memory is full%s. With a record goes what is known of its request, which a retry "+
				"then repeats: set its maxmemory-policy to noeviction.", s.GetStore(), policy)
		}
	}
	return ""
}
