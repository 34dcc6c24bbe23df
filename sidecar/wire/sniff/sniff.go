// SPDX-License-Identifier: Apache-2.0

package sniff

import "bytes"

// Verdict is what a connection speaks.
type Verdict uint8

// The verdicts. Thrift's are the forms in which a call can come: message protocol
// and transport.
const (
	// NeedMore bytes: it is not clear yet.
	NeedMore Verdict = iota
	// Unknown is none of the others.
	Unknown
	// HTTP1 begins with a token and a space.
	HTTP1
	// HTTP2 begins with the preface of RFC 9113 section 3.4.
	HTTP2
	// TLS begins with a handshake record (RFC 8446 section 5.1).
	TLS
	ThriftBinary
	// ThriftBinaryLax has no version: the form before Thrift 0.2.
	ThriftBinaryLax
	ThriftCompact
	ThriftJSON
	ThriftFramedBinary
	ThriftFramedBinaryLax
	ThriftFramedCompact
	ThriftFramedJSON
	// ThriftHeader is fbthrift's THeader, ThriftTTHeader Kitex's.
	ThriftHeader
	ThriftTTHeader
)

// Thrift reports whether v is one of its forms.
func (v Verdict) Thrift() bool { return v >= ThriftBinary && v <= ThriftTTHeader }

// String is for logs.
func (v Verdict) String() string {
	names := [...]string{
		"more bytes needed", "unknown", "HTTP/1", "HTTP/2", "TLS", "Thrift binary", "Thrift binary without version", "Thrift compact",
		"Thrift JSON", "Thrift framed binary", "Thrift framed binary without version", "Thrift framed compact", "Thrift framed JSON",
		"Thrift THeader", "Thrift TTHeader",
	}
	if int(v) < len(names) {
		return names[v]
	}
	return "no verdict"
}

const (
	// MaxBytes is what is looked at: as long as HTTP/2's preface.
	MaxBytes = len(preface)
	// MaxFrame is what Thrift's libraries take at the most; it makes 0 the first
	// byte of every frame.
	MaxFrame = 16_384_000
	// maxName bounds the name of a Thrift method.
	maxName = 256

	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
)

// Classify says what a connection speaks that began with b.
func Classify(b []byte) Verdict {
	b = b[:min(len(b), MaxBytes)]
	whole := len(b) == MaxBytes
	switch {
	case len(b) == 0:
		return NeedMore
	case b[0] == 0x16:
		return expect(b, 1, TLS, 0x03)
	case b[0] == 0x00:
		return frame(b, whole)
	case IsToken(b[0]):
		return http(b)
	}
	return message(b, ThriftBinary, ThriftCompact, ThriftJSON)
}

// expect is v where b goes on with want.
func expect(b []byte, at int, v Verdict, want ...byte) Verdict {
	have := b[min(at, len(b)):]
	have = have[:min(len(have), len(want))]
	switch {
	case !bytes.HasPrefix(want, have):
		return Unknown
	case len(have) < len(want):
		return NeedMore
	}
	return v
}

func http(b []byte) Verdict {
	if bytes.HasPrefix([]byte(preface), b) {
		if len(b) == len(preface) {
			return HTTP2
		}
		return NeedMore
	}
	for _, c := range b {
		switch {
		case c == ' ':
			return HTTP1
		case !IsToken(c):
			return Unknown
		}
	}
	if len(b) == MaxBytes {
		return Unknown
	}
	return NeedMore
}

// message is the head of a call or a reply, with its version.
func message(b []byte, binary, compact, json Verdict) Verdict {
	if len(b) == 0 {
		return NeedMore
	}
	switch b[0] {
	case 0x80: // 80 01, a byte that is not used, the type
		if v := expect(b, 1, binary, 0x01); v != binary || len(b) < 4 {
			return undecided(v, binary)
		}
		return typed(b[3], binary)
	case 0x82: // type and version share a byte
		if len(b) < 2 {
			return NeedMore
		}
		if b[1]&0x1f != 1 {
			return Unknown
		}
		return typed(b[1]>>5, compact)
	case '[': // [1,"name",type,seqid,…
		return expect(b, 1, json, '1', ',', '"')
	}
	return Unknown
}

// undecided is NeedMore where v would be decided.
func undecided(v, decided Verdict) Verdict {
	if v == decided {
		return NeedMore
	}
	return v
}

// typed is v where t is a type of messages: call, reply, exception, oneway.
func typed(t byte, v Verdict) Verdict {
	if t < 1 || t > 4 {
		return Unknown
	}
	return v
}

// frame is what begins with 0: a frame's length, or the length of a name. whole:
// there are MaxBytes, and no more will be looked at.
func frame(b []byte, whole bool) Verdict {
	if len(b) < 5 {
		if len(b) == 4 && length(b) == 0 {
			return Unknown
		}
		return NeedMore
	}
	n := length(b)
	if n == 0 || n > MaxFrame {
		return Unknown
	}
	body := b[4:]
	switch body[0] {
	case 0x80, 0x82, '[':
		return message(body, ThriftFramedBinary, ThriftFramedCompact, ThriftFramedJSON)
	case 0x0f:
		return expect(body, 1, ThriftHeader, 0xff)
	case 0x10:
		return expect(body, 1, ThriftTTHeader, 0x00)
	case 0x00:
		return lax(body, whole, ThriftFramedBinaryLax)
	}
	return lax(b, whole, ThriftBinaryLax)
}

func length(b []byte) int { return int(b[0])<<24 | int(b[1])<<16 | int(b[2])<<8 | int(b[3]) }

// lax is a message without version: the length of its name, the name, the type. Of a
// long name the beginning has to do.
func lax(b []byte, whole bool, v Verdict) Verdict {
	if len(b) < 4 {
		return expect(b, 0, NeedMore, 0x00, 0x00)
	}
	n := length(b)
	if n == 0 || n > maxName {
		return Unknown
	}
	name := b[4:min(len(b), 4+n)]
	for i, c := range name {
		if !isName(c, i == 0) {
			return Unknown
		}
	}
	if len(b) > 4+n {
		return typed(b[4+n], v)
	}
	if whole {
		return v
	}
	return NeedMore
}

// isName reports whether a method's name has c: an identifier, behind the name of a
// multiplexed service and a colon.
func isName(c byte, first bool) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_':
		return true
	case '0' <= c && c <= '9', c == '.', c == ':', c == '-', c == '$':
		return !first
	}
	return false
}

// IsToken reports whether c may be in a token (RFC 9110 section 5.6.2).
func IsToken(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c != 0 && bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0
}

// Printable reports whether b is text, as a request of HTTP/1 is that somebody got
// wrong.
func Printable(b []byte) bool {
	for _, c := range b {
		if (c < ' ' || c > '~') && c != '\r' && c != '\n' && c != '\t' {
			return false
		}
	}
	return len(b) > 0
}
