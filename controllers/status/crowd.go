// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"slices"
	"strings"

	"weir.dev/weir/api/stream"
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

func crowdWarning(limits []string, ports []uint16) string {
	count := "Limit " + limits[0] + " counts"
	if len(limits) > 1 {
		count = "Limits " + strings.Join(limits, ", ") + " count"
	}
	return fmt.Sprintf("Warning: Over 90 %% of the requests to container port %s come from three peers or fewer and carry X-Forwarded-For. %s by clientIP, "+
		"and so everybody behind such a peer as one client: if it is your ingress, list its addresses in identity.trustedProxies of the operator's "+
		"configuration or in the Service's annotation %s.", numbers(ports), count, attach.AnnotationTrustedProxies)
}
