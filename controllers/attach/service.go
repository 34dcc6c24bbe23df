// SPDX-License-Identifier: Apache-2.0

package attach

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/config"
)

// Annotations of Services.
const (
	AnnotationTrustedProxies  = "weir.dev/trusted-proxies"
	AnnotationIdentityHeaders = "weir.dev/identity-headers"
	AnnotationOpaquePorts     = "weir.dev/opaque-ports"
	AnnotationEncodedSlashes  = "weir.dev/encoded-slashes"
	// AnnotationThriftIDL is `port=configmap[/file][,routes=file]`, with semicolons:
	// clients of the port speak HTTP and the application Thrift.
	AnnotationThriftIDL = "weir.dev/thrift-idl"
	// AnnotationResponseTimeout is `30s` for every path of every port, or
	// `/reports=10m` for a path, with commas; 0s is none.
	AnnotationResponseTimeout = "weir.dev/response-timeout"
	// AnnotationMaxBody is a quantity, as in 10Mi.
	AnnotationMaxBody = "weir.dev/max-request-body"

	annotationPrefix = "weir.dev/"
	// EncodedSlashesPass is the one value of AnnotationEncodedSlashes.
	EncodedSlashesPass = "pass"
)

// service is a Service with its annotations read.
type service struct {
	name     string
	selector labels.Selector // nil: none
	external bool
	headless bool
	// ports are TCP, by number.
	ports []corev1.ServicePort
	// other are the names of ports that are not TCP.
	other       []string
	annotations []string // key=value, sorted

	proxies, headers *[]string // nil: not annotated
	opaque           map[string]bool
	passSlashes      bool
	timeouts         []Timeout
	maxBody          int64 // 0: not annotated
	idls             []portIDL
	// badIDL is what is wrong with the annotation of IDLs.
	badIDL string
	// problem is what no policy of it can be accepted with.
	problem problem
}

// problem is why a policy is not accepted somewhere; without a reason there is none.
type problem struct {
	reason  v1alpha1.ConditionReason
	message string
}

func readService(s *corev1.Service) *service {
	out := &service{
		name:     s.Name,
		external: s.Spec.Type == corev1.ServiceTypeExternalName,
		headless: s.Spec.ClusterIP == corev1.ClusterIPNone,
		opaque:   map[string]bool{},
	}
	if len(s.Spec.Selector) > 0 && !out.external {
		out.selector = labels.SelectorFromSet(s.Spec.Selector)
	}
	for _, p := range s.Spec.Ports {
		if p.Protocol == corev1.ProtocolTCP || p.Protocol == "" {
			out.ports = append(out.ports, p)
			continue
		}
		out.other = append(out.other, p.Name, strconv.Itoa(int(p.Port)))
	}
	slices.SortFunc(out.ports, func(a, b corev1.ServicePort) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Name, b.Name))
	})
	for k, v := range s.Annotations {
		if strings.HasPrefix(k, annotationPrefix) {
			out.annotations = append(out.annotations, k+"="+v)
		}
	}
	slices.Sort(out.annotations)
	out.readAnnotations(s.Annotations)
	return out
}

func (s *service) readAnnotations(a map[string]string) {
	list := func(key string, canonical func(string) (string, error)) *[]string {
		text, ok := a[key]
		if !ok {
			return nil
		}
		out := []string{}
		for _, word := range words(text) {
			c, err := canonical(word)
			if err != nil {
				s.invalid(key, err.Error())
				continue
			}
			out = append(out, c)
		}
		return &out
	}
	s.proxies = list(AnnotationTrustedProxies, config.CanonicalCIDR)
	s.headers = list(AnnotationIdentityHeaders, config.CanonicalHeader)
	for _, word := range words(a[AnnotationOpaquePorts]) {
		if len(s.section(word)) == 0 {
			s.invalid(AnnotationOpaquePorts, fmt.Sprintf("%q is neither the name nor the number of a TCP port of the Service", word))
		}
		s.opaque[word] = true
	}
	switch v, ok := a[AnnotationEncodedSlashes]; {
	case !ok:
	case v == EncodedSlashesPass:
		s.passSlashes = true
	default:
		s.invalid(AnnotationEncodedSlashes, fmt.Sprintf("%q is not %q, which is all it can be", v, EncodedSlashesPass))
	}
	if text, ok := a[AnnotationResponseTimeout]; ok {
		var err error
		if s.timeouts, err = parseTimeouts(text); err != nil {
			s.invalid(AnnotationResponseTimeout, err.Error())
		}
	}
	if text, ok := a[AnnotationMaxBody]; ok {
		var err error
		if s.maxBody, err = parseBody(text); err != nil {
			s.invalid(AnnotationMaxBody, err.Error())
		}
	}
	if text, ok := a[AnnotationThriftIDL]; ok {
		s.readIDLs(text)
	}
}

// invalid keeps the first that is wrong, so that the message is one sentence.
func (s *service) invalid(annotation, why string) {
	if s.problem.reason == "" {
		s.problem = problem{v1alpha1.ReasonInvalid, fmt.Sprintf("Service %s: annotation %s: %s.", s.name, annotation, why)}
	}
}

func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' })
}

// section returns the TCP ports that a name stands for: a port's name, else its
// number; empty stands for all.
func (s *service) section(name string) []corev1.ServicePort {
	if name == "" {
		return s.ports
	}
	for _, by := range []func(p *corev1.ServicePort) string{
		func(p *corev1.ServicePort) string { return p.Name },
		func(p *corev1.ServicePort) string { return strconv.Itoa(int(p.Port)) },
	} {
		for i := range s.ports {
			if by(&s.ports[i]) == name {
				return s.ports[i : i+1]
			}
		}
	}
	return nil
}

func (s *service) isOpaque(p *corev1.ServicePort) bool {
	return p.Name != "" && s.opaque[p.Name] || s.opaque[strconv.Itoa(int(p.Port))]
}

// target returns why no policy can be accepted at a section of s.
func (s *service) target(section string) problem {
	switch {
	case s.external:
		return problem{v1alpha1.ReasonInvalid, fmt.Sprintf(
			"Service %s is an ExternalName and has no pods of its own: target a Service that selects pods.", s.name)}
	case s.selector == nil:
		return problem{v1alpha1.ReasonInvalid, fmt.Sprintf(
			"Service %s has no selector, so its pods are not known: target a Service that selects pods.", s.name)}
	case section != "" && len(s.section(section)) == 0 && slices.Contains(s.other, section):
		return problem{v1alpha1.ReasonInvalid, fmt.Sprintf("Port %s of Service %s is not TCP: target a TCP port.", section, s.name)}
	case section != "" && len(s.section(section)) == 0:
		return problem{v1alpha1.ReasonTargetNotFound, fmt.Sprintf(
			"Service %s has no port %q: correct sectionName, or leave it out for all ports.", s.name, section)}
	case len(s.ports) == 0:
		return problem{v1alpha1.ReasonInvalid, fmt.Sprintf("Service %s has no TCP port.", s.name)}
	}
	return s.problem
}
