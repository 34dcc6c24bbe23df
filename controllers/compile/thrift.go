// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"slices"
	"strings"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
)

// about is the protocol of a port that says nothing of it: that of the policy's
// matches, where they have one.
func (d *draft) about() snapshot.Protocol {
	switch {
	case d.http && !d.thrift:
		return snapshot.Protocol_PROTOCOL_HTTP
	case d.thrift && !d.http:
		return snapshot.Protocol_PROTOCOL_THRIFT
	}
	return snapshot.Protocol_PROTOCOL_AUTO
}

// only is the protocol outside of which the policy matches nothing; UNSPECIFIED where
// there is none such.
func (d *draft) only() snapshot.Protocol {
	if d.everything || d.http == d.thrift {
		return snapshot.Protocol_PROTOCOL_UNSPECIFIED
	}
	return d.about()
}

// enforceable are the protocols of ports at which sidecars can enforce a policy of a
// kind. One over HTTP holds for each of HTTP's: gRPC methods are paths.
func enforceable(kind string) []snapshot.Protocol {
	out := []snapshot.Protocol{
		snapshot.Protocol_PROTOCOL_HTTP, snapshot.Protocol_PROTOCOL_H2C, snapshot.Protocol_PROTOCOL_GRPC,
		snapshot.Protocol_PROTOCOL_WEBSOCKET, snapshot.Protocol_PROTOCOL_AUTO,
	}
	if kind == v1alpha1.KindRateLimitPolicy {
		out = append(out, snapshot.Protocol_PROTOCOL_THRIFT)
	}
	return out
}

// answersToCalls is nil where the defaults hold.
func answersToCalls(t *v1alpha1.RateLimitThriftResponse) *snapshot.ThriftAnswers {
	if t == nil {
		return nil
	}
	out := &snapshot.ThriftAnswers{ExceptionField: t.ExceptionField, OnewayMethods: sorted(t.OnewayMethods)}
	if t.ExceptionCode != nil && *t.ExceptionCode != 6 {
		out.ExceptionCode = *t.ExceptionCode
	}
	if out.ExceptionCode == 0 && out.ExceptionField == 0 && len(out.OnewayMethods) == 0 {
		return nil
	}
	return out
}

// matchOf is a limit's match. One that counts by what only calls of Thrift have holds
// for them alone.
func matchOf(l *v1alpha1.Limit) []v1alpha1.Match {
	if len(l.Match) == 0 && slices.ContainsFunc(l.Key, func(k v1alpha1.KeyMember) bool { return k.ThriftHeader != "" || k.ThriftField != "" }) {
		return []v1alpha1.Match{{Thrift: &v1alpha1.ThriftMatch{}}}
	}
	return l.Match
}

// ofCall compiles a member that only calls of Thrift have; nil: it is none.
func (b *builder) ofCall(field string, k *v1alpha1.KeyMember) *snapshot.KeyPart {
	switch {
	case k.ThriftHeader != "":
		b.agrees(field+".thriftHeader", true)
		return &snapshot.KeyPart{Kind: &snapshot.KeyPart_ThriftHeader{ThriftHeader: strings.ToLower(string(k.ThriftHeader))}}
	case k.ThriftField != "":
		b.agrees(field+".thriftField", true)
		if _, err := snapshot.FieldPath(string(k.ThriftField)); err != nil {
			b.invalid(field+".thriftField", "%q is no path of field ids: each is from 1 to 32767, as in 1.3.", k.ThriftField)
		}
		return &snapshot.KeyPart{Kind: &snapshot.KeyPart_ThriftField{ThriftField: string(k.ThriftField)}}
	}
	return nil
}

// agrees refuses a member that requests of one of the matches never have.
func (b *builder) agrees(field string, ofThrift bool) {
	what, entry, other := "requests of HTTP", "thrift", "thriftHeader, thriftField or clientIP"
	if ofThrift {
		what, entry, other = "calls of Thrift", "http", "header, pathParam, queryParam, cookie, jwtClaim or clientIP"
	}
	for i := range b.match {
		if (b.match[i].Thrift != nil) != ofThrift {
			b.invalid(field, "Only %s have it, and %s is about others: use %s, or a %s of its own for each protocol.",
				what, fmt.Sprintf("match[%d].%s", i, entry), other, b.what)
			return
		}
	}
}
