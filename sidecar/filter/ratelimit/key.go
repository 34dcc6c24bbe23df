// SPDX-License-Identifier: Apache-2.0

package ratelimit

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/filter/match"
)

// fallbackPrefix is how much of an IPv6 address stands in for a missing member:
// what one customer is given.
const fallbackPrefix = 64

// Tags keep members of different kinds apart in the hash, so that no header can
// be made to count as somebody's address.
const (
	tagNone       = '0'
	tagHeader     = 'h'
	tagClientIP   = 'i'
	tagPathParam  = 'p'
	tagQueryParam = 'q'
	tagCookie     = 'c'
	tagJWTClaim   = 'j'
	tagMissing    = 'm'
)

// keySpec is what limits count by; limits with the same members share one, and so
// its hash.
type keySpec struct {
	parts   []keyPart
	missing snapshot.OnMissingKey
	// constant is the key when there are no parts.
	constant limiter.Key
}

type keyPart struct {
	tag    byte
	name   string // of a header (in lower case), parameter, cookie or claim
	prefix int    // of IPv6 addresses
	byRule []int  // where the parameter is, by rule of the match
	// provider and its tokens, of a claim that has name.
	provider string
	tokens   Tokens
}

func (f *Filter) compileKey(policy string, l *snapshot.Limit, m *match.Matcher, specs map[string]int) (int, error) {
	if len(l.GetKey()) > maxKeyParts {
		return 0, fmt.Errorf("key has %d members, at most %d are possible", len(l.GetKey()), maxKeyParts)
	}
	spec := keySpec{missing: l.GetOnMissingKey()}
	switch spec.missing {
	case snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP, snapshot.OnMissingKey_ON_MISSING_KEY_SKIP, snapshot.OnMissingKey_ON_MISSING_KEY_DENY:
	default:
		return 0, fmt.Errorf("on_missing_key %d is unknown", spec.missing)
	}
	shared := true
	id := fmt.Sprint(spec.missing)
	for i, part := range l.GetKey() {
		c, err := f.compilePart(part, m)
		if err != nil {
			return 0, fmt.Errorf("key[%d]: %w", i, err)
		}
		// Where a parameter is depends on the limit's own templates.
		shared = shared && c.tag != tagPathParam
		id += fmt.Sprintf("|%c %q %q %d", c.tag, c.provider, c.name, c.prefix)
		spec.parts = append(spec.parts, c)
	}
	if i, ok := specs[id]; ok && shared {
		return i, nil
	}
	if len(spec.parts) == 0 {
		// The policy's name spreads such buckets over the slots of a cluster.
		spec.constant = hash(appendPart(nil, tagNone, []byte(policy)))
	}
	f.specs = append(f.specs, spec)
	if shared {
		specs[id] = len(f.specs) - 1
	}
	return len(f.specs) - 1, nil
}

func (f *Filter) compilePart(part *snapshot.KeyPart, m *match.Matcher) (keyPart, error) {
	switch k := part.GetKind().(type) {
	case *snapshot.KeyPart_Header:
		if k.Header == "" || len(k.Header) > maxString || k.Header != strings.ToLower(k.Header) {
			return keyPart{}, fmt.Errorf("header name %q is empty, too long or not in lower case", k.Header)
		}
		return keyPart{tag: tagHeader, name: k.Header}, nil
	case *snapshot.KeyPart_ClientIp:
		n := k.ClientIp.GetIpv6PrefixLength()
		if n < 1 || n > 128 {
			return keyPart{}, fmt.Errorf("ipv6_prefix_length %d is not between 1 and 128", n)
		}
		return keyPart{tag: tagClientIP, prefix: int(n)}, nil
	case *snapshot.KeyPart_PathParam:
		byRule, found := m.Param(k.PathParam)
		if !found {
			return keyPart{}, fmt.Errorf("path parameter %q is in no template of the limit's match", k.PathParam)
		}
		return keyPart{tag: tagPathParam, name: k.PathParam, byRule: byRule}, nil
	case *snapshot.KeyPart_QueryParam:
		if k.QueryParam == "" || len(k.QueryParam) > maxString {
			return keyPart{}, fmt.Errorf("query parameter %q is empty or too long", k.QueryParam)
		}
		return keyPart{tag: tagQueryParam, name: k.QueryParam}, nil
	case *snapshot.KeyPart_Cookie:
		if k.Cookie == "" || len(k.Cookie) > maxString || strings.ContainsAny(k.Cookie, "=; \t") {
			return keyPart{}, fmt.Errorf("cookie name %q is empty, too long or not a name", k.Cookie)
		}
		return keyPart{tag: tagCookie, name: k.Cookie}, nil
	case *snapshot.KeyPart_JwtClaim:
		provider, claim := k.JwtClaim.GetProvider(), k.JwtClaim.GetClaim()
		if claim == "" || len(claim) > maxString {
			return keyPart{}, fmt.Errorf("claim %q is empty or too long", claim)
		}
		part := keyPart{tag: tagJWTClaim, name: claim, provider: provider}
		if f.env.Tokens != nil {
			part.tokens = f.env.Tokens(provider)
		}
		if part.tokens == nil {
			return keyPart{}, fmt.Errorf("JWT provider %q is not in the snapshot", provider)
		}
		return part, nil
	default:
		return keyPart{}, fmt.Errorf("the member is of a kind that this sidecar does not know")
	}
}

// verdict on a key.
type keyState uint8

const (
	keyUnset keyState = iota
	keyFound
	keySkip
	keyDeny
)

// key hashes what spec counts x by. buf is scratch, returned for reuse.
func (spec *keySpec) key(x *exchange.Exchange, rule int, p *match.Params, buf []byte) (limiter.Key, keyState, []byte) {
	if len(spec.parts) == 0 {
		return spec.constant, keyFound, buf
	}
	buf = buf[:0]
	for i := range spec.parts {
		part := &spec.parts[i]
		n, ambiguous := len(buf), false
		switch part.tag {
		case tagHeader:
			value, count := x.Request.Header(part.name)
			if count == 1 && len(value) > 0 {
				buf = appendPart(buf, tagHeader, value)
			}
			ambiguous = count > 1
		case tagClientIP:
			buf = appendAddr(buf, tagClientIP, x.Client, part.prefix)
		case tagPathParam:
			if rule >= 0 {
				buf = appendParam(buf, p.Get(part.byRule[rule]))
			}
		case tagQueryParam:
			buf, ambiguous = appendQueryParam(buf, x.Query, part.name)
		case tagCookie:
			if value, count := x.Request.Header("cookie"); count == 1 {
				buf, ambiguous = appendCookie(buf, value, part.name)
			} else {
				ambiguous = count > 1
			}
		case tagJWTClaim:
			if field, count := x.Request.Header("authorization"); count == 1 {
				if value := part.tokens.Claim(field, part.name); len(value) > 0 {
					buf = appendPart(buf, tagJWTClaim, value)
				}
			} else {
				ambiguous = count > 1
			}
		}
		if len(buf) > n {
			continue
		}
		switch {
		case spec.missing == snapshot.OnMissingKey_ON_MISSING_KEY_DENY:
			return limiter.Key{}, keyDeny, buf
		case spec.missing == snapshot.OnMissingKey_ON_MISSING_KEY_SKIP && !ambiguous:
			return limiter.Key{}, keySkip, buf
		}
		if buf = appendAddr(buf, tagMissing, x.Client, fallbackPrefix); len(buf) == n {
			// A peer without an address: all such share a bucket.
			buf = appendPart(buf, tagMissing, nil)
		}
	}
	return hash(buf), keyFound, buf
}

// hash is 128 bits of SHA-256: nobody can make up a key that falls into another's
// bucket, and all pods agree without a shared secret.
func hash(b []byte) (k limiter.Key) {
	sum := sha256.Sum256(b)
	copy(k[:], sum[:])
	return k
}

func appendPart(buf []byte, tag byte, value []byte) []byte {
	buf = append(buf, tag)
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(value)))
	return append(buf, value...)
}

// appendParam appends a path parameter in the one form that all its spellings
// have.
func appendParam(buf, value []byte) []byte {
	if len(value) == 0 {
		return buf
	}
	n := len(buf)
	buf = append(buf, tagPathParam, 0, 0, 0, 0)
	return closePart(match.AppendDecoded(buf, value), n)
}

// closePart sets the length of the part that begins at n, and takes away an empty
// one.
func closePart(buf []byte, n int) []byte {
	if len(buf) == n+5 {
		return buf[:n]
	}
	binary.BigEndian.PutUint32(buf[n+1:], uint32(len(buf)-n-5))
	return buf
}

// appendAddr appends an address, nothing when there is none: IPv4 whole, IPv6
// without the bits after the prefix and without a zone.
func appendAddr(buf []byte, tag byte, addr netip.Addr, prefix int) []byte {
	if !addr.IsValid() {
		return buf
	}
	addr = addr.Unmap()
	if addr.Is4() {
		a := addr.As4()
		return appendPart(buf, tag, a[:])
	}
	masked, err := addr.WithZone("").Prefix(prefix)
	if err != nil {
		return buf
	}
	a := masked.Addr().As16()
	return appendPart(buf, tag, a[:])
}
