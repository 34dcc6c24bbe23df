// SPDX-License-Identifier: Apache-2.0

package inject

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"weir.dev/weir/api/podspec"
)

// action is where a probe or hook of a container leads. The pointers are into the
// container; grpc is nil for hooks, which have none.
type action struct {
	httpGet *(*corev1.HTTPGetAction)
	tcp     *(*corev1.TCPSocketAction)
	grpc    *(*corev1.GRPCAction)
	timeout int32
	hook    bool
}

// port is the action's reference to a port, nil if it has none by name or number
// in the pod.
func (a action) port() *intstr.IntOrString {
	switch {
	case *a.httpGet != nil:
		return &(*a.httpGet).Port
	case *a.tcp != nil:
		return &(*a.tcp).Port
	default:
		return nil
	}
}

// eachAction visits the probes and hooks of a container.
func eachAction(c *corev1.Container, visit func(kind podspec.ProbeKind, a action)) {
	for _, p := range []struct {
		kind  podspec.ProbeKind
		probe *corev1.Probe
	}{
		{podspec.ProbeStartup, c.StartupProbe},
		{podspec.ProbeReadiness, c.ReadinessProbe},
		{podspec.ProbeLiveness, c.LivenessProbe},
	} {
		if p.probe != nil {
			visit(p.kind, action{
				httpGet: &p.probe.HTTPGet, tcp: &p.probe.TCPSocket, grpc: &p.probe.GRPC, timeout: p.probe.TimeoutSeconds,
			})
		}
	}
	if c.Lifecycle == nil {
		return
	}
	for _, h := range []struct {
		kind podspec.ProbeKind
		hook *corev1.LifecycleHandler
	}{
		{podspec.HookPostStart, c.Lifecycle.PostStart},
		{podspec.HookPreStop, c.Lifecycle.PreStop},
	} {
		if h.hook != nil {
			visit(h.kind, action{httpGet: &h.hook.HTTPGet, tcp: &h.hook.TCPSocket, hook: true})
		}
	}
}

// takeProbes leads the probes and httpGet hooks of captured ports to the status
// port, from where the sidecar passes them on: an httpGet would meet the app's
// limits, a tcpSocket would always succeed because the sidecar accepts, and a
// grpc one would be refused.
func takeProbes(pod *corev1.Pod, s settings) changes {
	var c changes
	eachApp(pod, func(_ string, con *corev1.Container) {
		eachAction(con, func(kind podspec.ProbeKind, a action) {
			probe, ok := forwarded(con, kind, a)
			if !ok || !s.captured(probePort(probe)) {
				return
			}
			was := originalAction{Container: con.Name, Kind: kind, HTTPGet: *a.httpGet, TCPSocket: *a.tcp}
			if a.grpc != nil {
				was.GRPC = *a.grpc
				*a.grpc = nil
			}
			c.original.Actions = append(c.original.Actions, was)
			c.probes = append(c.probes, probe)
			*a.tcp = nil
			*a.httpGet = statusGet(podspec.ProbePath(con.Name, kind))
		})
	})
	return c
}

// forwarded is a probe as the sidecar has to make it; false if it does not go to
// a port of the pod.
func forwarded(con *corev1.Container, kind podspec.ProbeKind, a action) (podspec.Probe, bool) {
	p := podspec.Probe{Container: con.Name, Kind: kind, TimeoutSeconds: a.timeout}
	switch {
	case *a.httpGet != nil:
		get := *a.httpGet
		number, ok := resolvePort(con, get.Port)
		if !ok || get.Host != "" {
			return p, false // another host is asked: from the node, not through the pod's network
		}
		p.HTTPGet = &podspec.HTTPGet{Scheme: string(get.Scheme), Port: number, Path: get.Path}
		for _, h := range get.HTTPHeaders {
			p.HTTPGet.Headers = append(p.HTTPGet.Headers, podspec.Header{Name: h.Name, Value: h.Value})
		}
	case *a.tcp != nil && !a.hook: // the kubelet has never run tcpSocket hooks
		number, ok := resolvePort(con, (*a.tcp).Port)
		if !ok || (*a.tcp).Host != "" {
			return p, false
		}
		p.TCPSocket = &podspec.TCPSocket{Port: number}
	case a.grpc != nil && *a.grpc != nil:
		number, ok := resolvePort(con, intstr.FromInt32((*a.grpc).Port))
		if !ok {
			return p, false
		}
		p.GRPC = &podspec.GRPC{Port: number}
		if (*a.grpc).Service != nil {
			p.GRPC.Service = *(*a.grpc).Service
		}
	default:
		return p, false
	}
	return p, true
}

func probePort(p podspec.Probe) uint16 {
	switch {
	case p.HTTPGet != nil:
		return p.HTTPGet.Port
	case p.TCPSocket != nil:
		return p.TCPSocket.Port
	case p.GRPC != nil:
		return p.GRPC.Port
	}
	return 0
}

// resolvePort as the kubelet does: names are looked up in the container.
func resolvePort(con *corev1.Container, ref intstr.IntOrString) (uint16, bool) {
	number := ref.IntVal
	if ref.Type == intstr.String {
		number = 0
		for _, p := range con.Ports {
			if p.Name == ref.StrVal {
				number = p.ContainerPort
				break
			}
		}
	}
	if number <= 0 || number > 65535 {
		return 0, false
	}
	return uint16(number), true
}
