// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"weir.dev/weir/api/podspec"
)

// takePorts gives the names of the app's ports to the sidecar, and leaves the
// kubelet's probes with the app by number.
func takePorts(pod *corev1.Pod, s settings) (changes, []Reason) {
	var c changes
	var reasons []Reason
	taken := map[string]bool{}
	var shadowed []*corev1.ContainerPort // same name, not the first: Services never find it
	owner := map[*corev1.ContainerPort]string{}
	eachApp(pod, func(path string, con *corev1.Container) {
		for i := range con.Ports {
			p := &con.Ports[i]
			field := fmt.Sprintf("%s.ports[%d]", path, i)
			switch {
			case !tcp(*p) || s.exclude[uint16(p.ContainerPort)] || s.keep[p.Name] && p.Name != "":
				continue
			case p.Name == "":
				reasons = append(reasons, Reason{
					Code: PortUnnamed, Field: field,
					Message: fmt.Sprintf("Port %d has no name that the sidecar could take, so its traffic goes around the sidecar. "+
						"Give it one and use it as the Service's targetPort.", p.ContainerPort),
				})
				continue
			case p.HostPort != 0:
				reasons = append(reasons, Reason{
					Code: HostPort, Field: field + ".hostPort",
					Message: fmt.Sprintf("Traffic to port %d of the node goes around the sidecar. Use a Service instead.", p.HostPort),
				})
			}
			owner[p] = con.Name
			if taken[p.Name] {
				shadowed = append(shadowed, p)
				continue
			}
			taken[p.Name] = true
			c.take(con.Name, p)
		}
	})
	if limit := podspec.PortNamedLast - podspec.PortNamedFirst + 1; len(c.named) > limit {
		return changes{}, append(reasons, Reason{
			Code: TooManyPorts, Field: "spec.containers",
			Message: fmt.Sprintf("The sidecar can take %d named ports, not %d. Name those in %s that need no policy.",
				limit, len(c.named), podspec.AnnotationExcludeInboundPorts),
		})
	}
	for i, p := range shadowed {
		c.rename(owner[p], p, len(c.named)+i)
	}
	c.numberProbes(pod)
	return c, reasons
}

// take makes p the sidecar's next port.
func (c *changes) take(container string, p *corev1.ContainerPort) {
	n := len(c.named)
	c.named = append(c.named, podspec.NamedPort{
		Name: p.Name, Listen: uint16(podspec.PortNamedFirst + n), Port: uint16(p.ContainerPort),
	})
	c.rename(container, p, n)
}

func (c *changes) rename(container string, p *corev1.ContainerPort, n int) {
	as := podspec.PortNamePrefix + strconv.Itoa(n)
	c.original.Ports = append(c.original.Ports, originalPort{
		Container: container, Name: p.Name, As: as, Port: p.ContainerPort,
	})
	p.Name = as
}

// numberProbes replaces the names that were taken in probes and hooks.
func (c *changes) numberProbes(pod *corev1.Pod) {
	number := map[[2]string]int32{}
	for _, p := range c.original.Ports {
		number[[2]string{p.Container, p.Name}] = p.Port
	}
	eachApp(pod, func(_ string, con *corev1.Container) {
		eachAction(con, func(kind podspec.ProbeKind, a action) {
			ref := a.port()
			if ref == nil || ref.Type != intstr.String {
				return
			}
			if n, ok := number[[2]string{con.Name, ref.StrVal}]; ok {
				c.original.ProbePorts = append(c.original.ProbePorts, originalProbePort{
					Container: con.Name, Kind: kind, Name: ref.StrVal, Port: n,
				})
				*ref = intstr.FromInt32(n)
			}
		})
	})
}
