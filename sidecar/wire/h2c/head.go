// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"unsafe"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

// maxFields is how many fields a head may have.
const maxFields = 256

// field is one field of a request as filters see it.
type field struct{ name, value []byte }

// head is a request's fields. Names are in net/http's spelling.
type head struct{ fields []field }

// bytesOf is s without a copy. Nobody writes to what an exchange holds.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

func (h *head) fill(from http.Header) {
	h.fields = h.fields[:0]
	for name, values := range from {
		for _, v := range values {
			h.fields = append(h.fields, field{name: bytesOf(name), value: rules.Trim(bytesOf(v))})
		}
	}
}

// Header implements exchange.Headers.
func (h *head) Header(name string) (value []byte, count int) {
	for i := range h.fields {
		f := &h.fields[i]
		if !rules.EqualFold(f.name, name) {
			continue
		}
		if count == 0 {
			value = f.value
		}
		count++
	}
	return value, count
}

func (h *head) size() int {
	n := 0
	for i := range h.fields {
		n += len(h.fields[i].name) + len(h.fields[i].value) + len(": \r\n")
	}
	return n
}

// isGRPC reports whether the content type is that of gRPC over HTTP/2.
func isGRPC(h http.Header) bool {
	const grpc = "application/grpc"
	v := h["Content-Type"]
	return len(v) > 0 && strings.HasPrefix(v[0], grpc) && (len(v[0]) == len(grpc) || strings.IndexByte("+; \t", v[0][len(grpc)]) >= 0)
}

// begin fills the exchange from the request's head. What only trusted peers may
// say is taken away.
func (t *stream) begin() {
	r, x := t.r, &t.x
	x.Reset()
	x.Context = t.s.http.Context()
	x.Start = t.start
	x.Port = t.c.target.Port
	x.Protocol = "HTTP/2"
	x.Method = bytesOf(r.Method)
	x.Peer = t.c.peer
	x.RawPath, x.Query = bytesOf(r.RequestURI), nil
	if path, query, ok := strings.Cut(r.RequestURI, "?"); ok {
		x.RawPath, x.Query = bytesOf(path), bytesOf(query)
	}
	t.grpc = isGRPC(r.Header)
	x.GRPC = t.grpc
	t.body.patient = t.grpc
	if t.port, _ = t.s.cfg.Ports.Port(x.Port); t.port != nil {
		t.chain = t.port.Chain
		t.body.limit = t.port.MaxBody
		t.c.translated.Store(t.port.Protocol == exchange.HTTP || t.port.Protocol == exchange.WebSocket)
	}
	// A port that no policy governs any more speaks what it spoke before.
	t.translated = t.c.translated.Load()
	x.Client = t.identify()
	t.head.fill(r.Header)
	if r.Host != "" && len(r.Header["Host"]) == 0 {
		// For filters and logs the authority is what Host is in HTTP/1.
		t.head.fields = append(t.head.fields, field{name: bytesOf("Host"), value: bytesOf(r.Host)})
	}
	x.Request = &t.head
}

func (t *stream) identify() netip.Addr {
	if t.port == nil || t.port.Identity == nil {
		return t.c.peer
	}
	id := t.port.Identity
	if id.Trusts(t.c.peer) {
		return id.Client(t.c.peer, list(t.r.Header["X-Forwarded-For"]), list(t.r.Header["Forwarded"]))
	}
	dropIdentity(t.r.Header, id)
	dropIdentity(t.r.Trailer, id)
	return t.c.peer
}

func dropIdentity(h http.Header, id *exchange.Identity) {
	for name := range h {
		if rules.IsIdentity(bytesOf(name), id) {
			delete(h, name)
		}
	}
}

func list(values []string) [][]byte {
	if len(values) == 0 {
		return nil
	}
	l := make([][]byte, len(values))
	for i, v := range values {
		l[i] = bytesOf(v)
	}
	return l
}

// check makes the path ready and refuses what two servers could read differently.
// Frames and pseudo-header fields have been checked by net/http.
func (t *stream) check() (exchange.Denial, bool) {
	r := t.r
	switch {
	case r.Method == http.MethodConnect:
		return rules.ConnectRefused(), false
	case len(t.head.fields) > maxFields || t.head.size()+len(r.RequestURI) > t.s.http.Settings().HeadBytes:
		return rules.Problem(http.StatusRequestHeaderFieldsTooLarge, rules.ProblemHeadTooLarge, "Request Head Too Large",
			"The path and header fields are longer than "+strconv.Itoa(t.s.http.Settings().HeadBytes)+" bytes together, or more than "+strconv.Itoa(maxFields)+" fields."), false
	case !rules.IsToken(bytesOf(r.Method)):
		return rules.Malformed("The request's :method has characters that are not allowed in one."), false
	case r.RequestURI[0] != '/' && (r.RequestURI != "*" || r.Method != http.MethodOptions) || strings.ContainsFunc(r.RequestURI, func(c rune) bool { return c <= ' ' || c == 0x7F }):
		// HTTP/1 would take a space for the end of it.
		return rules.Malformed("The request's :path is not a path."), false
	}
	if d, ok := t.checkHost(); !ok {
		return d, false
	}
	if d, ok := t.checkLength(); !ok {
		return d, false
	}
	if d, ok := t.paths.Fill(&t.x, t.port); !ok {
		return d, false
	}
	if t.grpc && t.translated {
		return rules.Unsupported(http.StatusNotImplemented,
			"This port is declared as HTTP/1.1, over which there is no gRPC; set appProtocol: grpc at the Service's port."), false
	}
	return exchange.Denial{}, true
}

// checkHost: :authority and Host say the same.
func (t *stream) checkHost() (exchange.Denial, bool) {
	hosts := t.r.Header["Host"]
	switch {
	case t.r.Host == "":
		return rules.Malformed("The request needs an :authority or a Host."), false
	case len(hosts) > 1 || len(hosts) == 1 && !strings.EqualFold(hosts[0], t.r.Host):
		return rules.Malformed("The request's :authority and Host differ."), false
	}
	if !rules.IsHost(bytesOf(t.r.Host)) {
		return rules.Malformed("The request's :authority has characters that are not allowed in one."), false
	}
	return exchange.Denial{}, true
}

// checkLength: Content-Length, which frames nothing in HTTP/2, may not say another
// thing than the frames, and the body is within the port's bound.
func (t *stream) checkLength() (exchange.Denial, bool) {
	if lengths := t.r.Header["Content-Length"]; len(lengths) > 0 {
		n, err := strconv.ParseUint(lengths[0], 10, 63)
		if err != nil || len(lengths) > 1 || lengths[0][0] == '+' {
			return rules.Malformed("The request's Content-Length is not one number."), false
		}
		// Where the stream has ended with its head, net/http says 0.
		if t.r.ContentLength != int64(n) {
			return rules.Malformed("The request has no body, and its Content-Length says otherwise."), false
		}
	}
	if t.port != nil && t.port.MaxBody > 0 && t.r.ContentLength > t.port.MaxBody {
		return rules.BodyTooLarge(), false
	}
	return exchange.Denial{}, true
}
