// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

// target is a request's first line.
type target struct {
	method, path, query []byte
	// uri is what is forwarded: origin form, or `*`.
	uri []byte
}

var crlfcrlf = []byte("\r\n\r\n")

// headLen returns the length of the head that b begins with, 0 when its end has
// not come; from is how much was looked at before.
func headLen(b []byte, from int) int {
	from = max(0, from-len(crlfcrlf)+1)
	if n := bytes.Index(b[from:], crlfcrlf); n >= 0 {
		return from + n + len(crlfcrlf)
	}
	return 0
}

// readHead reads and indexes the head of the next request. It answers what is no
// request, and reports false when the connection is over.
func (t *txn) readHead() bool {
	n := t.awaitHead()
	return n > 0 && t.parseHead(n)
}

// awaitHead waits until a head is whole and returns its length; 0: there is none,
// and what was to be said has been said.
func (t *txn) awaitHead() int {
	seen, empty, timed, unclear := 0, false, false, false
	for {
		if !timed && !unclear && (seen > 0 || empty) {
			_ = t.c.nc.SetReadDeadline(time.Now().Add(t.s.cfg.Timeouts.Head))
			t.c.deadlines, timed = time.Time{}, true
		}
		_, err := t.br.Peek(seen + 1)
		b, _ := t.br.Peek(t.br.Buffered())
		if err != nil {
			if unclear && t.endsUnclear(b, err) {
				return 0
			}
			t.noHead(b, err)
			return 0
		}
		if b[0] == '\r' || b[0] == '\n' {
			// RFC 9112 §2.2: an empty line before a request is ignored.
			if len(b) == 1 {
				seen = 1
				continue
			}
			if b[0] == '\n' || b[1] != '\n' || empty {
				t.refuseHead(rules.Malformed("The request does not begin with a method."))
				return 0
			}
			_, _ = t.br.Discard(2)
			seen, empty = 0, true
			continue
		}
		if t.c.requests == 0 && !empty && (seen == 0 || unclear) {
			switch t.begins(b, seen == 0) {
			case beginsRefused:
				return 0
			case beginsUnclear:
				seen, unclear = len(b), true
				continue
			}
			unclear = false
		}
		if is, more := t.c.beginsHTTP2(b); is && !empty {
			t.http2 = bytes.Clone(b)
			return 0
		} else if more && !empty {
			seen = len(b)
			continue
		}
		if n := headLen(b, seen); n > 0 {
			return n
		}
		if d, ok := t.checkStart(b); !ok {
			t.refuseHead(d)
			return 0
		}
		seen = len(b)
	}
}

// noHead handles a connection that ended, or went quiet, before a head was whole.
func (t *txn) noHead(b []byte, err error) bool {
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		d := rules.Problem(http.StatusRequestHeaderFieldsTooLarge, rules.ProblemHeadTooLarge, "Request Head Too Large",
			"The request line and header fields are longer than "+strconv.Itoa(t.br.Size())+" bytes together.")
		d.Close = true
		return t.refuseHead(d)
	case len(b) > 0 && errors.Is(err, os.ErrDeadlineExceeded):
		d := rules.Problem(http.StatusRequestTimeout, rules.ProblemRequestTimeout, "Request Timeout", "The head of the request did not come in time.")
		d.Close = true
		return t.refuseHead(d)
	}
	if t.c.requests == 0 && len(b) > 0 && errors.Is(err, io.EOF) {
		return t.refuseHead(rules.Malformed("The connection ended inside the head of the request."))
	}
	return false
}

var (
	prefaceLine = []byte("PRI * HTTP/2.0\r\n")
	http1       = []byte(" HTTP/1.")
)

// checkStart refuses what can be seen to be no HTTP/1 before its head is whole.
func (t *txn) checkStart(b []byte) (exchange.Denial, bool) {
	if !rules.IsTokenChar(b[0]) {
		return rules.Malformed("The request does not begin with a method; policies of this port need HTTP/1.1 without TLS."), false
	}
	n := bytes.IndexByte(b, '\n')
	if n < 0 {
		return exchange.Denial{}, true
	}
	if bytes.HasPrefix(b, prefaceLine) {
		d := rules.Problem(http.StatusHTTPVersionNotSupported, rules.ProblemVersion, "HTTP Version Not Supported",
			"HTTP/2 is not spoken here, or does not begin as it must: with its preface, and on a connection of its own; use HTTP/1.1.")
		d.Close = true
		return d, false
	}
	if n < 1 || b[n-1] != '\r' || !bytes.Contains(b[:n], http1) {
		return rules.Malformed("The first line is not that of an HTTP/1.1 request."), false
	}
	return exchange.Denial{}, true
}

func (t *txn) refuseHead(d exchange.Denial) bool {
	t.linger = true
	t.close = true
	if d.Status == 0 {
		return false
	}
	t.x.Reset()
	t.http10, t.expects100 = false, false
	t.target = target{}
	t.body.start(t.br, noBody, 0)
	t.answer(d)
	t.s.cfg.Metrics.Request(t.c.target.Port, HTTP1, t.status, t.x.Start)
	return false
}

// parseHead takes the head off the buffer. What it refuses is answered and ends
// the connection: where the next request begins is not known.
func (t *txn) parseHead(n int) bool {
	// In steps: a frame with denials in it must not lie under fasthttp's, or the
	// stack of every connection grows to the next power of two.
	return t.indexHead(n) && t.rereadHead() && t.frameHead()
}

func (t *txn) indexHead(n int) bool {
	raw, _ := t.br.Peek(n)
	if d, ok := t.checkStart(raw); !ok {
		return t.refuseHead(d)
	}
	if err := t.head.parse(raw); err != nil {
		return t.refuseHead(rules.Malformed("The request cannot be read: " + err.Error() + "."))
	}
	return true
}

// rereadHead is the second parser's turn.
func (t *txn) rereadHead() bool {
	t.header.Reset()
	t.header.DisableNormalizing()
	return t.header.Read(t.br) == nil || t.refuseReread()
}

//go:noinline
func (t *txn) refuseReread() bool {
	return t.refuseHead(rules.Malformed("The request cannot be read: its head is not valid HTTP/1.1."))
}

func (t *txn) frameHead() bool {
	if d, ok := t.parseTarget(); !ok {
		return t.refuseHead(d)
	}
	if d, ok := t.frame(); !ok {
		return t.refuseHead(d)
	}
	return true
}

// parseTarget reads the first line.
func (t *txn) parseTarget() (exchange.Denial, bool) {
	line := t.head.line
	sp, last := bytes.IndexByte(line, ' '), bytes.LastIndexByte(line, ' ')
	if sp <= 0 || last <= sp+1 || bytes.IndexByte(line[sp+1:last], ' ') >= 0 {
		return rules.Malformed("The first line is not that of an HTTP/1.1 request."), false
	}
	switch string(line[last+1:]) {
	case "HTTP/1.1":
		t.http10 = false
	case "HTTP/1.0":
		t.http10 = true
	default:
		d := rules.Problem(http.StatusHTTPVersionNotSupported, rules.ProblemVersion, "HTTP Version Not Supported", "Policies of this port need HTTP/1.1 or HTTP/1.0.")
		d.Close = true
		return d, false
	}
	t.target.method = line[:sp]
	if !rules.IsToken(t.target.method) {
		return rules.Malformed("The method has characters that are not allowed in one."), false
	}
	uri := line[sp+1 : last]
	if string(t.target.method) == "CONNECT" {
		return rules.ConnectRefused(), false
	}
	if uri[0] != '/' && string(uri) != "*" {
		var ok bool
		if uri, ok = t.originForm(uri); !ok {
			return rules.Malformed("The request's target is neither a path nor an http URL of the host that Host names."), false
		}
	}
	t.target.uri = uri
	t.target.path, t.target.query = uri, nil
	if q := bytes.IndexByte(uri, '?'); q >= 0 {
		t.target.path, t.target.query = uri[:q], uri[q+1:]
	}
	return exchange.Denial{}, true
}

// originForm turns an absolute target into the path that it names. Its authority
// must be what Host says: two servers would choose differently.
func (t *txn) originForm(uri []byte) ([]byte, bool) {
	rest := uri
	switch {
	case rules.HasPrefixFold(uri, "http://"):
		rest = uri[len("http://"):]
	case rules.HasPrefixFold(uri, "https://"):
		rest = uri[len("https://"):]
	default:
		return nil, false
	}
	end := bytes.IndexAny(rest, "/?#")
	authority, path := rest, []byte("/")
	if end >= 0 {
		authority, path = rest[:end], rest[end:]
	}
	host, n := t.head.Header("host")
	if n != 1 || !bytes.EqualFold(host, authority) {
		return nil, false
	}
	if path[0] != '/' {
		path = append([]byte("/"), path...)
	}
	return path, true
}

// frame decides where the body ends.
func (t *txn) frame() (exchange.Denial, bool) {
	_, lengths := t.head.Header("content-length")
	coding, codings := t.head.Header("transfer-encoding")
	host, hosts := t.head.Header("host")
	switch {
	case codings > 0 && lengths > 0:
		return rules.Malformed("The request has both Content-Length and Transfer-Encoding."), false
	case codings > 1 || lengths > 1:
		return rules.Malformed("The request has more than one Content-Length or Transfer-Encoding."), false
	case codings == 1 && (t.http10 || !rules.EqualFold(coding, "chunked")):
		return rules.Malformed("The only Transfer-Encoding of a request is chunked, and HTTP/1.0 has none."), false
	case hosts > 1 || hosts == 0 && !t.http10:
		return rules.Malformed("The request needs exactly one Host."), false
	case !rules.IsHost(host):
		return rules.Malformed("The request's Host has characters that are not allowed in one."), false
	}
	length := t.header.ContentLength()
	switch {
	case codings == 1:
		if length != -1 {
			return rules.Malformed("The request's framing is not clear."), false
		}
		t.body.start(t.br, chunked, 0)
	case lengths == 1:
		if length < 0 {
			return rules.Malformed("The request's Content-Length is not a number."), false
		}
		t.body.start(t.br, fixedLength, int64(length))
	default:
		t.body.start(t.br, noBody, 0)
	}
	conn, n := t.head.Header("connection")
	if n > 1 {
		t.close = t.anyConnection("close") || t.http10
	} else if n == 1 {
		t.close = rules.ListHas(conn, "close") || t.http10 && !rules.ListHas(conn, "keep-alive")
	} else {
		t.close = t.http10
	}
	expect, n := t.head.Header("expect")
	t.expects100 = n > 0 && !t.http10 && !t.body.ended && rules.EqualFold(expect, "100-continue")
	return exchange.Denial{}, true
}

// anyConnection reports whether one of several Connection fields has the token.
func (t *txn) anyConnection(token string) bool {
	for i := range t.head.fields {
		if f := &t.head.fields[i]; rules.EqualFold(f.name, "connection") && rules.ListHas(f.value, token) {
			return true
		}
	}
	return false
}

// identify says who the client is, and takes away what only trusted peers may
// say.
func (t *txn) identify() netip.Addr {
	peer := t.c.peer
	if t.port == nil || t.port.Identity == nil {
		return peer
	}
	id := t.port.Identity
	if !id.Trusts(peer) {
		for i := range t.head.fields {
			f := &t.head.fields[i]
			f.drop = f.drop || rules.IsIdentity(f.name, id)
		}
		return peer
	}
	t.xff, t.fwd = t.xff[:0], t.fwd[:0]
	for i := range t.head.fields {
		f := &t.head.fields[i]
		switch {
		case rules.EqualFold(f.name, "x-forwarded-for"):
			t.xff = append(t.xff, f.value)
		case rules.EqualFold(f.name, "forwarded"):
			t.fwd = append(t.fwd, f.value)
		}
	}
	return id.Client(peer, t.xff, t.fwd)
}
