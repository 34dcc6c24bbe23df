// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
)

// builder compiles what limits and IdempotencyPolicies have in common.
type builder struct {
	*draft
	in *Input
	// path is where the fields are, and what is what has them: limit, policy.
	path, what string
	match      []v1alpha1.Match
	errs       []string
}

func (b *builder) invalid(field, format string, args ...any) {
	b.errs = append(b.errs, fmt.Sprintf("%s.%s: %s", b.path, field, fmt.Sprintf(format, args...)))
}

// keyParts returns the members of a key in the order of the snapshot, and for each
// where it is in the spec.
func (b *builder) keyParts(of string, members []v1alpha1.KeyMember) (parts []*snapshot.KeyPart, order []int) {
	var out []*snapshot.KeyPart
	for i := range members {
		k := &members[i]
		field := fmt.Sprintf("%s[%d]", of, i)
		if part := b.ofCall(field, k); part != nil {
			out = append(out, part)
			continue
		}
		if name := ofHTTP(k); name != "" {
			b.agrees(field+"."+name, false)
		}
		switch {
		case k.Header != "":
			name := strings.ToLower(string(k.Header))
			b.headers[name] = append(b.headers[name], b.path+"."+field+".header")
			out = append(out, &snapshot.KeyPart{Kind: &snapshot.KeyPart_Header{Header: name}})
		case k.ClientIP != nil:
			n := uint32(cmp.Or(k.ClientIP.IPv6PrefixLength, 64))
			out = append(out, &snapshot.KeyPart{Kind: &snapshot.KeyPart_ClientIp{ClientIp: &snapshot.ClientIP{Ipv6PrefixLength: n}}})
		case k.PathParam != "":
			b.pathParam(field+".pathParam", k.PathParam)
			out = append(out, &snapshot.KeyPart{Kind: &snapshot.KeyPart_PathParam{PathParam: k.PathParam}})
		case k.QueryParam != "":
			out = append(out, &snapshot.KeyPart{Kind: &snapshot.KeyPart_QueryParam{QueryParam: k.QueryParam}})
		case k.Cookie != "":
			out = append(out, &snapshot.KeyPart{Kind: &snapshot.KeyPart_Cookie{Cookie: string(k.Cookie)}})
		case k.JWTClaim != nil:
			out = append(out, &snapshot.KeyPart{Kind: &snapshot.KeyPart_JwtClaim{JwtClaim: b.jwtClaim(field+".jwtClaim", k.JWTClaim)}})
		default:
			b.invalid(field, "The member has no source: set header, clientIP, pathParam, queryParam, cookie, jwtClaim, thriftHeader or thriftField.")
			out = append(out, &snapshot.KeyPart{})
		}
	}
	parts = canonical(out)
	for _, part := range parts {
		order = append(order, slices.IndexFunc(out, func(k *snapshot.KeyPart) bool { return proto.Equal(k, part) }))
	}
	return parts, order
}

// ofHTTP is the member's name where only requests of HTTP have it. pathParam says by
// itself what it needs.
func ofHTTP(k *v1alpha1.KeyMember) string {
	switch {
	case k.Header != "":
		return "header"
	case k.QueryParam != "":
		return "queryParam"
	case k.Cookie != "":
		return "cookie"
	case k.JWTClaim != nil:
		return "jwtClaim"
	}
	return ""
}

// pathParam checks that every way to match gives the parameter.
func (b *builder) pathParam(field, name string) {
	if len(b.match) == 0 {
		b.invalid(field, "The %s has no match, and so no template with {%s}: add a match with a path of type Template.", b.what, name)
	}
	for i := range b.match {
		h := b.match[i].HTTP
		if h != nil && h.Path != nil && h.Path.Type == v1alpha1.PathMatchTemplate &&
			slices.Contains(strings.Split(h.Path.Value, "/"), "{"+name+"}") {
			continue
		}
		b.invalid(field, "match[%d] has no template with {%s}, so its requests would have no such parameter: "+
			"add {%s} to its path, or use another %s.", i, name, name, b.what)
	}
}

// canonical sorts messages by their bytes and takes out what comes twice: their
// order has no meaning.
func canonical[T proto.Message](list []T) []T {
	type entry struct {
		bytes   []byte
		message T
	}
	entries := make([]entry, 0, len(list))
	for _, m := range list {
		// What is marshalled here has been made here, of valid strings.
		bytes, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		entries = append(entries, entry{bytes, m})
	}
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(a.bytes, b.bytes) })
	entries = slices.CompactFunc(entries, func(a, b entry) bool { return bytes.Equal(a.bytes, b.bytes) })
	var out []T
	for _, e := range entries {
		out = append(out, e.message)
	}
	return out
}
