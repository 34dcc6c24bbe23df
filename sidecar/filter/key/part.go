// SPDX-License-Identifier: Apache-2.0

package key

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/match"
)

// MaxParts and MaxString bound a key, api.md.
const (
	MaxParts  = 4
	MaxString = 256
)

// Kind of a member, which stands before its value.
type Kind byte

// The kinds of members.
const (
	Header     Kind = 'h'
	ClientIP   Kind = 'i'
	PathParam  Kind = 'p'
	QueryParam Kind = 'q'
	Cookie     Kind = 'c'
	JWTClaim   Kind = 'j'

	// Of calls of Thrift.
	ThriftHeader Kind = 't'
	ThriftField  Kind = 'f'
)

// Tokens verifies the tokens of one provider. See jwt.Provider.
type Tokens interface {
	// Claim of the token in an Authorization field, now; nil: none that holds.
	Claim(field []byte, claim string) []byte
}

// Part is one member of a key. Immutable.
type Part struct {
	kind   Kind
	name   string // of a header (in lower case), parameter, cookie or claim
	prefix int    // of IPv6 addresses
	byRule []int  // where the parameter is, by rule of the match
	// provider and its tokens, of a claim that has name.
	provider string
	tokens   Tokens
	// path leads to a field of a call's arguments, which name spells.
	path []int16
}

// Compile checks a member. Path parameters are those of m; tokens, which may be nil,
// returns those of a provider, nil where there is none.
func Compile(part *snapshot.KeyPart, m *match.Matcher, tokens func(provider string) Tokens) (Part, error) {
	switch k := part.GetKind().(type) {
	case *snapshot.KeyPart_Header:
		if k.Header == "" || len(k.Header) > MaxString || k.Header != strings.ToLower(k.Header) {
			return Part{}, fmt.Errorf("header name %q is empty, too long or not in lower case", k.Header)
		}
		return Part{kind: Header, name: k.Header}, nil
	case *snapshot.KeyPart_ClientIp:
		n := k.ClientIp.GetIpv6PrefixLength()
		if n < 1 || n > 128 {
			return Part{}, fmt.Errorf("ipv6_prefix_length %d is not between 1 and 128", n)
		}
		return Part{kind: ClientIP, prefix: int(n)}, nil
	case *snapshot.KeyPart_PathParam:
		byRule, found := m.Param(k.PathParam)
		if !found {
			return Part{}, fmt.Errorf("path parameter %q is in no template of the match", k.PathParam)
		}
		return Part{kind: PathParam, name: k.PathParam, byRule: byRule}, nil
	case *snapshot.KeyPart_QueryParam:
		if k.QueryParam == "" || len(k.QueryParam) > MaxString {
			return Part{}, fmt.Errorf("query parameter %q is empty or too long", k.QueryParam)
		}
		return Part{kind: QueryParam, name: k.QueryParam}, nil
	case *snapshot.KeyPart_Cookie:
		if k.Cookie == "" || len(k.Cookie) > MaxString || strings.ContainsAny(k.Cookie, "=; \t") {
			return Part{}, fmt.Errorf("cookie name %q is empty, too long or not a name", k.Cookie)
		}
		return Part{kind: Cookie, name: k.Cookie}, nil
	case *snapshot.KeyPart_JwtClaim:
		provider, claim := k.JwtClaim.GetProvider(), k.JwtClaim.GetClaim()
		if claim == "" || len(claim) > MaxString {
			return Part{}, fmt.Errorf("claim %q is empty or too long", claim)
		}
		p := Part{kind: JWTClaim, name: claim, provider: provider}
		if tokens != nil {
			p.tokens = tokens(provider)
		}
		if p.tokens == nil {
			return Part{}, fmt.Errorf("JWT provider %q is not in the snapshot", provider)
		}
		return p, nil
	case *snapshot.KeyPart_ThriftHeader:
		if k.ThriftHeader == "" || len(k.ThriftHeader) > MaxString || k.ThriftHeader != strings.ToLower(k.ThriftHeader) {
			return Part{}, fmt.Errorf("header name %q is empty, too long or not in lower case", k.ThriftHeader)
		}
		return Part{kind: ThriftHeader, name: k.ThriftHeader}, nil
	case *snapshot.KeyPart_ThriftField:
		path, err := snapshot.FieldPath(k.ThriftField)
		return Part{kind: ThriftField, name: k.ThriftField, path: path}, err
	default:
		return Part{}, fmt.Errorf("the member is of a kind that this sidecar does not know")
	}
}

// Kind of the member.
func (p *Part) Kind() Kind { return p.kind }

// Prefix is how much of an IPv6 address counts, of ClientIP.
func (p *Part) Prefix() int { return p.prefix }

// ID is the same for members that have the same value for every request; those of a
// path parameter, as long as they belong to one match.
func (p *Part) ID() string {
	return fmt.Sprintf("%c %q %q %d", p.kind, p.provider, p.name, p.prefix)
}

// String names the member in a sentence.
func (p *Part) String() string {
	switch p.kind {
	case Header:
		return "the header " + p.name
	case PathParam:
		return "the path parameter " + p.name
	case QueryParam:
		return "the query parameter " + p.name
	case Cookie:
		return "the cookie " + p.name
	case JWTClaim:
		return fmt.Sprintf("the claim %s of a bearer token that %s has issued and that is valid", p.name, p.provider)
	case ThriftHeader:
		return fmt.Sprintf("the header %s of the call", p.name)
	case ThriftField:
		return fmt.Sprintf("the field %s of the arguments", p.name)
	default:
		return "the client's address"
	}
}

// Append appends the member's value; nothing where it is missing, empty or doubtful:
// a header that is sent more than once, for example. rule and params are what the match
// said. Calls of Thrift have no members of HTTP, whatever carries them, and a field of
// theirs is read once x.Body is there only: it may come again at the end.
func (p *Part) Append(buf []byte, x *exchange.Exchange, rule int, params *match.Params) (out []byte, doubtful bool) {
	if x.Call != nil || p.kind == ThriftHeader || p.kind == ThriftField {
		return p.appendOfCall(buf, x)
	}
	switch p.kind {
	case Header:
		value, count := x.Request.Header(p.name)
		if count == 1 && len(value) > 0 {
			buf = AppendValue(buf, Header, value)
		}
		doubtful = count > 1
	case ClientIP:
		buf = AppendAddr(buf, ClientIP, x.Client, p.prefix)
	case PathParam:
		if rule >= 0 {
			buf = appendPathParam(buf, params.Get(p.byRule[rule]))
		}
	case QueryParam:
		buf, doubtful = appendQueryParam(buf, x.Query, p.name)
	case Cookie:
		if value, count := x.Request.Header("cookie"); count == 1 {
			buf, doubtful = appendCookie(buf, value, p.name)
		} else {
			doubtful = count > 1
		}
	case JWTClaim:
		if field, count := x.Request.Header("authorization"); count == 1 {
			if value := p.tokens.Claim(field, p.name); len(value) > 0 {
				buf = AppendValue(buf, JWTClaim, value)
			}
		} else {
			doubtful = count > 1
		}
	}
	return buf, doubtful
}

// appendOfCall is Append for calls of Thrift, and for members of them.
func (p *Part) appendOfCall(buf []byte, x *exchange.Exchange) (out []byte, doubtful bool) {
	switch {
	case p.kind == ClientIP:
		return AppendAddr(buf, ClientIP, x.Client, p.prefix), false
	case x.Call == nil:
	case p.kind == ThriftHeader:
		value, count := x.Request.Header(p.name)
		if count == 1 && len(value) > 0 {
			buf = AppendValue(buf, ThriftHeader, value)
		}
		return buf, count > 1
	case p.kind == ThriftField && x.Body == nil:
		return buf, true
	case p.kind == ThriftField:
		value, state := x.Call.Args.Field(p.path)
		if state == exchange.FieldFound && len(value) > 0 {
			buf = AppendValue(buf, ThriftField, value)
		}
		return buf, state == exchange.FieldInvalid || state == exchange.FieldBeyond
	}
	return buf, false
}

// AppendGiven appends a value that the member has by the word of a policy.
func (p *Part) AppendGiven(buf []byte, value string) ([]byte, error) {
	if value == "" || len(value) > MaxString {
		return buf, fmt.Errorf("is empty or longer than %d bytes", MaxString)
	}
	if p.kind != ClientIP {
		return AppendValue(buf, p.kind, []byte(value)), nil
	}
	addr, err := netip.ParseAddr(value)
	if err != nil {
		return buf, fmt.Errorf("%q is no address", value)
	}
	return AppendAddr(buf, ClientIP, addr, p.prefix), nil
}

// AppendValue appends a value of a kind.
func AppendValue(buf []byte, k Kind, value []byte) []byte {
	buf = append(buf, byte(k))
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(value)))
	return append(buf, value...)
}

// appendPathParam appends a path parameter in the one form that all its spellings
// have.
func appendPathParam(buf, value []byte) []byte {
	if len(value) == 0 {
		return buf
	}
	n := len(buf)
	buf = append(buf, byte(PathParam), 0, 0, 0, 0)
	return closeValue(match.AppendDecoded(buf, value), n)
}

// closeValue sets the length of the value that begins at n, and takes away an empty
// one.
func closeValue(buf []byte, n int) []byte {
	if len(buf) == n+5 {
		return buf[:n]
	}
	binary.BigEndian.PutUint32(buf[n+1:], uint32(len(buf)-n-5))
	return buf
}

// AppendAddr appends an address, nothing when there is none: IPv4 whole, IPv6
// without the bits after the prefix and without a zone.
func AppendAddr(buf []byte, k Kind, addr netip.Addr, prefix int) []byte {
	if !addr.IsValid() {
		return buf
	}
	addr = addr.Unmap()
	if addr.Is4() {
		a := addr.As4()
		return AppendValue(buf, k, a[:])
	}
	masked, err := addr.WithZone("").Prefix(prefix)
	if err != nil {
		return buf
	}
	a := masked.Addr().As16()
	return AppendValue(buf, k, a[:])
}
