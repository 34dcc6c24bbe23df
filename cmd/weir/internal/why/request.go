// SPDX-License-Identifier: Apache-2.0

package why

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// MaxCount bounds Request.Count.
const MaxCount = 1_000_000

// assumedPeer is where a request comes from of which nobody says it: an address for
// documentation (RFC 5737), which nobody trusts.
const assumedPeer = "192.0.2.1"

// Request is what the data plane is asked about.
type Request struct {
	Method, Target string
	// Fields in their order.
	Fields []Field
	// Peer is where the connection comes from; invalid: Client, else assumedPeer.
	Peer netip.Addr
	// Client is whom X-Forwarded-For names, where there is a Peer.
	Client netip.Addr
	// Count: it is the last of so many equal requests at once; at least 1.
	Count int
}

// Field is a header field.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// ParseRequest reads `POST /users/1/payments` and headers as `Name: value`.
func ParseRequest(line string, headers []string) (Request, error) {
	r := Request{Count: 1}
	var ok bool
	r.Method, r.Target, ok = strings.Cut(strings.TrimSpace(line), " ")
	if !ok && strings.HasPrefix(r.Method, "/") {
		r.Method, r.Target = "GET", r.Method
	}
	r.Target = strings.TrimSpace(r.Target)
	if !httpguts.ValidHeaderFieldName(r.Method) || !strings.HasPrefix(r.Target, "/") && r.Target != "*" || strings.ContainsAny(r.Target, " \t\r\n#") {
		return r, fmt.Errorf("--request %q is not a method and a path, as in --request 'POST /users/1/payments'", line)
	}
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ":")
		value = strings.TrimSpace(value)
		if !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return r, fmt.Errorf("-H %q is not a header, as in -H 'X-Client-Id: a'", h)
		}
		r.Fields = append(r.Fields, Field{name, value})
	}
	return r, nil
}

// Address reads an address of a flag; an empty one is none.
func Address(flag, s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return a, fmt.Errorf("%s %q is not an address, as in 192.0.2.1 or 2001:db8::1", flag, s)
	}
	return a.Unmap(), nil
}

// complete puts in what was left out; host is the Service.
func (r Request) complete(host string) Request {
	if !r.Peer.IsValid() {
		if r.Peer = r.Client; !r.Peer.IsValid() {
			r.Peer = netip.MustParseAddr(assumedPeer)
		}
	} else if r.Client.IsValid() && r.Client != r.Peer {
		r.Fields = append(r.Fields, Field{"X-Forwarded-For", r.Client.String()})
	}
	if r.value("Host") == "" {
		r.Fields = append([]Field{{"Host", host}}, r.Fields...)
	}
	if r.value("Content-Length") == "" && r.value("Transfer-Encoding") == "" && r.Method != "GET" && r.Method != "HEAD" {
		r.Fields = append(r.Fields, Field{"Content-Length", "0"})
	}
	return r
}

func (r Request) value(name string) string {
	for _, f := range r.Fields {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}
