// SPDX-License-Identifier: Apache-2.0

package attach

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/config"
)

// workload is pods that nothing here tells apart.
type workload struct {
	key      string
	services []*service
	pods     []*podView
	slots    map[uint16]*slot
}

// slot is a conflict domain: a container port of a workload, or a port of a
// Service that selects no pod.
type slot struct {
	workload *workload // nil: no pod
	number   uint16    // container port; of the Service where there is no pod
	ways     []way
}

// way is a Service's port that leads to a slot.
type way struct {
	service *service
	port    *corev1.ServicePort
}

// world is the namespace, read.
type world struct {
	services   map[string]*service
	workloads  []*workload
	unselected []*podView
	// of are the workloads that a Service selects, by key.
	of map[*service][]*workload
	// empty are the slots of Services without pods, by Service.
	empty map[string][]*slot
}

func read(in Input) *world {
	w := &world{services: map[string]*service{}, empty: map[string][]*slot{}, of: map[*service][]*workload{}}
	var services []*service
	for i := range in.Services {
		s := readService(&in.Services[i])
		services = append(services, s)
		w.services[s.name] = s
	}
	slices.SortFunc(services, func(a, b *service) int { return strings.Compare(a.name, b.name) })
	byKey := map[string]*workload{}
	selecting := map[string]bool{}
	for i := range in.Pods {
		if ended(&in.Pods[i]) {
			continue
		}
		w.place(view(&in.Pods[i]), services, byKey, selecting)
	}
	for _, l := range byKey {
		slices.SortFunc(l.pods, comparePods)
		w.workloads = append(w.workloads, l)
	}
	slices.SortFunc(w.workloads, func(a, b *workload) int { return strings.Compare(a.key, b.key) })
	for _, l := range w.workloads {
		for _, s := range l.services {
			w.of[s] = append(w.of[s], l)
		}
	}
	slices.SortFunc(w.unselected, comparePods)
	for _, s := range services {
		if s.selector == nil || selecting[s.name] {
			continue
		}
		for i := range s.ports {
			p := &s.ports[i]
			w.empty[s.name] = append(w.empty[s.name], &slot{number: uint16(p.Port), ways: []way{{s, p}}})
		}
	}
	return w
}

func comparePods(a, b *podView) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.UID, b.UID))
}

// place puts a pod into its workload.
func (w *world) place(pod *podView, services []*service, byKey map[string]*workload, selecting map[string]bool) {
	var own []*service
	sum := sha256.New()
	for _, s := range services {
		if s.selector == nil || !s.selector.Matches(labels.Set(pod.labels)) {
			continue
		}
		own = append(own, s)
		selecting[s.name] = true
		fmt.Fprintf(sum, "%q%q\n", s.name, s.annotations)
		for i := range s.ports {
			p := &s.ports[i]
			protocol, word := protocolOf(p)
			fmt.Fprintf(sum, "%q %d %d %q %d\n", p.Name, p.Port, protocol, word, pod.resolve(p))
		}
	}
	if len(own) == 0 {
		w.unselected = append(w.unselected, pod)
		return
	}
	key := hex.EncodeToString(sum.Sum(nil)[:10])
	l := byKey[key]
	if l == nil {
		l = &workload{key: key, services: own, slots: map[uint16]*slot{}}
		byKey[key] = l
		for _, s := range own {
			for i := range s.ports {
				l.addWay(pod.resolve(&s.ports[i]), way{s, &s.ports[i]})
			}
		}
	}
	pod.Workload = key
	l.pods = append(l.pods, pod)
}

func (l *workload) addWay(number uint16, by way) {
	if number == 0 {
		return
	}
	s := l.slots[number]
	if s == nil {
		s = &slot{workload: l, number: number}
		l.slots[number] = s
	}
	s.ways = append(s.ways, by)
}

// label is how messages call the slot.
func (s *slot) label() string {
	if s.workload == nil {
		return fmt.Sprintf("port %d of Service %s", s.number, s.ways[0].service.name)
	}
	return fmt.Sprintf("container port %d (%s)", s.number, strings.Join(s.names(), ", "))
}

// names are service/port by name and by number, sorted.
func (s *slot) names() []string {
	var out []string
	for _, w := range s.ways {
		if w.port.Name != "" {
			out = append(out, w.service.name+"/"+w.port.Name)
		}
		out = append(out, w.service.name+"/"+strconv.Itoa(int(w.port.Port)))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (s *slot) opaque() bool {
	return slices.ContainsFunc(s.ways, func(w way) bool { return w.service.isOpaque(w.port) })
}

func (s *slot) passSlashes() bool {
	return slices.ContainsFunc(s.ways, func(w way) bool { return w.service.passSlashes })
}

// protocol is what the Services that lead to the slot agree on.
func (s *slot) protocol() (snapshot.Protocol, problem) {
	if idl, another := s.idl(); another != "" {
		return snapshot.Protocol_PROTOCOL_HTTP, problem{v1alpha1.ReasonInvalid, another}
	} else if idl != nil {
		// Whatever they say, it is what the application speaks.
		return snapshot.Protocol_PROTOCOL_HTTP, problem{}
	}
	said := snapshot.Protocol_PROTOCOL_AUTO
	var by string
	for _, w := range s.ways {
		p, word := protocolOf(w.port)
		name := w.service.name
		switch {
		case p == snapshot.Protocol_PROTOCOL_UNSPECIFIED:
			return p, problem{v1alpha1.ReasonInvalid, fmt.Sprintf(
				"%s has appProtocol %q in Service %s, which Weir does not govern.", upper(s.label()), word, name)}
		case p == snapshot.Protocol_PROTOCOL_AUTO || p == said:
		case said == snapshot.Protocol_PROTOCOL_AUTO:
			said, by = p, name
		default:
			return p, problem{v1alpha1.ReasonInvalid, fmt.Sprintf(
				"%s is %s in Service %s and %s in Service %s: make them agree.", upper(s.label()), ProtocolName(said), by, ProtocolName(p), name)}
		}
	}
	return said, problem{}
}

// problem is why no policy can be accepted at the slot.
func (s *slot) problem() problem {
	if s.workload != nil && podspec.Reserved(s.number) {
		return problem{v1alpha1.ReasonInvalid, fmt.Sprintf("%s belongs to Weir's sidecar: target a port of the application.", upper(s.label()))}
	}
	if s.opaque() {
		return problem{v1alpha1.ReasonInvalid, fmt.Sprintf(
			"%s is named in %s, so nothing there is read: take it out of the annotation, or out of the policy.", upper(s.label()), AnnotationOpaquePorts)}
	}
	if n := len(s.timeouts()); n > snapshot.MaxTimeouts {
		return problem{v1alpha1.ReasonInvalid, fmt.Sprintf("%s has %d timeouts from %s of its Services together, %d are possible: remove some.",
			upper(s.label()), n, AnnotationResponseTimeout, snapshot.MaxTimeouts)}
	}
	_, p := s.protocol()
	return p
}

// identity is the workload's: what its Services annotate, together, else the
// configuration's.
func (l *workload) identity(configured config.Identity) config.Identity {
	var proxies, headers []string
	ownProxies, ownHeaders := false, false
	for _, s := range l.services {
		if s.proxies != nil {
			ownProxies, proxies = true, append(proxies, *s.proxies...)
		}
		if s.headers != nil {
			ownHeaders, headers = true, append(headers, *s.headers...)
		}
	}
	out := configured
	if ownProxies {
		out.TrustedProxies = proxies
	}
	if ownHeaders {
		out.IdentityHeaders = headers
	}
	return out.Canonical()
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
