// SPDX-License-Identifier: Apache-2.0

package local

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Listener is one `--listener` flag: a port of a Service, where it is listened
// on and where it leads.
type Listener struct {
	// Service and Port, as targetRefs have them: name/sectionName.
	Service, Port string
	// Listen is host:port.
	Listen string
	// Upstream is host:port of the application.
	Upstream string
	// Protocol is http, h2c, grpc, ws, thrift or auto; empty: what the port's name says, as
	// in a cluster, else http.
	Protocol string
}

// Name is `service/port`.
func (l Listener) Name() string { return l.Service + "/" + l.Port }

// ParseListener reads name=SERVICE/PORT,listen=HOST:PORT,upstream=HOST:PORT[,protocol=http].
func ParseListener(s string) (Listener, error) {
	var l Listener
	for _, part := range strings.Split(s, ",") {
		k, v, ok := strings.Cut(part, "=")
		if !ok || v == "" {
			return l, fmt.Errorf("--listener %q: %q is not key=value; it looks like name=payments/http,listen=127.0.0.1:8080,upstream=127.0.0.1:9000", s, part)
		}
		switch k {
		case "name":
			l.Service, l.Port, ok = strings.Cut(v, "/")
			if !ok || l.Service == "" || l.Port == "" {
				return l, fmt.Errorf("--listener %q: name is service/port, as in payments/http", s)
			}
		case "listen":
			l.Listen = v
		case "upstream":
			l.Upstream = v
		case "protocol":
			l.Protocol = v
		default:
			return l, fmt.Errorf("--listener %q: %q is not known; use name, listen, upstream and protocol", s, k)
		}
	}
	return l, l.check(s)
}

func (l Listener) check(s string) error {
	switch {
	case l.Service == "":
		return fmt.Errorf("--listener %q: name is missing, as in name=payments/http", s)
	case l.Listen == "":
		return fmt.Errorf("--listener %q: listen is missing, as in listen=127.0.0.1:8080", s)
	case l.Upstream == "":
		return fmt.Errorf("--listener %q: upstream is missing, as in upstream=127.0.0.1:9000", s)
	}
	if host, port, err := net.SplitHostPort(l.Listen); err != nil || !isPort(port, 0) || strings.Contains(host, "/") {
		return fmt.Errorf("--listener %q: listen %q is not HOST:PORT, as in 127.0.0.1:8080", s, l.Listen)
	}
	if host, port, err := net.SplitHostPort(l.Upstream); err != nil || !isPort(port, 1) || host == "" || strings.Contains(host, "/") {
		return fmt.Errorf("--listener %q: upstream %q is not HOST:PORT, as in 127.0.0.1:9000", s, l.Upstream)
	}
	switch l.Protocol {
	case "", "http", "h2c", "grpc", "ws", "thrift", "auto":
		return nil
	}
	return fmt.Errorf("--listener %q: protocol %q is not known; use http, h2c, grpc, ws, thrift or auto", s, l.Protocol)
}

// appProtocol is what the port of a Service would say; nil: nothing.
func (l Listener) appProtocol() *string {
	switch l.Protocol {
	case "":
		for _, said := range []string{"h2c", "grpc", "thrift"} {
			if l.Port == said || strings.HasPrefix(l.Port, said+"-") {
				return nil
			}
		}
		return new("http")
	case "auto":
		return nil
	case "h2c", "ws":
		return new("kubernetes.io/" + l.Protocol)
	case "thrift":
		return new("weir.dev/thrift")
	}
	return new(l.Protocol)
}

func isPort(s string, least uint64) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n >= least
}

// number returns the port's number when the listener is named by number.
func (l Listener) number() (int32, bool) {
	n, err := strconv.ParseUint(l.Port, 10, 16)
	return int32(n), err == nil && n > 0
}
