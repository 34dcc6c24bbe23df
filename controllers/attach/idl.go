// SPDX-License-Identifier: Apache-2.0

package attach

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// IDL says where the mapping of a port's requests to calls of Thrift comes from.
type IDL struct {
	ConfigMap string
	// File is the member with the services; empty: the one whose name ends in .thrift.
	File string
	// Routes is the member with the routes; empty: the IDL's annotations are all.
	Routes string
}

// String is as in the annotation.
func (i IDL) String() string {
	out := i.ConfigMap
	if i.File != "" {
		out += "/" + i.File
	}
	if i.Routes != "" {
		out += ",routes=" + i.Routes
	}
	return out
}

// portIDL is an entry of AnnotationThriftIDL.
type portIDL struct {
	port string
	idl  IDL
}

var (
	configMapRE = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)
	memberRE    = regexp.MustCompile(`^[-._a-zA-Z0-9]{1,253}$`)
)

// parseIDLs reads AnnotationThriftIDL. The error is a sentence without its end.
func parseIDLs(text string) ([]portIDL, error) {
	var out []portIDL
	for entry := range strings.SplitSeq(text, ";") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		p, err := parseIDL(entry)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(o portIDL) bool { return o.port == p.port }) {
			return nil, fmt.Errorf("%q is for a port that is there already: keep one of them", entry)
		}
		out = append(out, p)
	}
	if len(out) == 0 {
		return nil, errors.New("it is empty: write PORT=CONFIGMAP, PORT=CONFIGMAP/FILE or PORT=CONFIGMAP/FILE,routes=FILE, several with a ; between")
	}
	return out, nil
}

func parseIDL(entry string) (portIDL, error) {
	port, rest, ok := strings.Cut(entry, "=")
	rest, routes, more := strings.Cut(rest, ",")
	configMap, file, named := strings.Cut(strings.TrimSpace(rest), "/")
	out := portIDL{strings.TrimSpace(port), IDL{ConfigMap: configMap, File: file}}
	if more {
		key, value, is := strings.Cut(strings.TrimSpace(routes), "=")
		if !is || key != "routes" || !memberRE.MatchString(value) {
			return out, fmt.Errorf("%q has %q where routes=FILE can be, a member of the ConfigMap", entry, routes)
		}
		out.idl.Routes = value
	}
	switch {
	case !ok || out.port == "":
		return out, fmt.Errorf("%q has no port: write PORT=CONFIGMAP, with the name or the number of a port of the Service", entry)
	case !configMapRE.MatchString(configMap) || len(configMap) > 253:
		return out, fmt.Errorf("%q has %q, which is no name of a ConfigMap", entry, configMap)
	case named && !memberRE.MatchString(file):
		return out, fmt.Errorf("%q has %q, which is no name of a ConfigMap's member", entry, file)
	}
	return out, nil
}

// IDLs are those that a Service names, each once; the error is a sentence about its
// annotation.
func IDLs(s *corev1.Service) ([]IDL, error) {
	if _, ok := s.Annotations[AnnotationThriftIDL]; !ok {
		return nil, nil
	}
	read := readService(s)
	var out []IDL
	for _, p := range read.idls {
		if !slices.Contains(out, p.idl) {
			out = append(out, p.idl)
		}
	}
	if read.badIDL != "" {
		return out, errors.New(read.badIDL)
	}
	return out, nil
}

// readIDLs reads the annotation; ports have been read.
func (s *service) readIDLs(text string) {
	list, err := parseIDLs(text)
	for _, p := range list {
		if err == nil && len(s.section(p.port)) == 0 {
			err = fmt.Errorf("%q is neither the name nor the number of a TCP port of the Service", p.port)
		}
	}
	if err == nil {
		s.idls = list
		return
	}
	s.badIDL = fmt.Sprintf("Service %s: annotation %s: %s.", s.name, AnnotationThriftIDL, err)
	s.invalid(AnnotationThriftIDL, err.Error())
}

// idlAt is what the Service says of one of its ports.
func (s *service) idlAt(p *corev1.ServicePort) (IDL, bool) {
	for _, i := range s.idls {
		if at := s.section(i.port); len(at) == 1 && at[0].Port == p.Port && at[0].Name == p.Name {
			return i.idl, true
		}
	}
	return IDL{}, false
}

// idl is that of the first Service which names one; another is what a second one says
// instead.
func (s *slot) idl() (found *IDL, another string) {
	var by string
	for _, w := range s.ways {
		idl, ok := w.service.idlAt(w.port)
		switch {
		case !ok || found != nil && *found == idl:
		case found == nil:
			found, by = &idl, w.service.name
		case another == "":
			another = fmt.Sprintf("%s has the IDL %s in Service %s and %s in Service %s: make them agree.", upper(s.label()), found, by, idl, w.service.name)
		}
	}
	return found, another
}
