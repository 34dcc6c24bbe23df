// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"

	"weir.dev/weir/api/v1alpha1"
)

// unsupported returns the paths of the fields that ask for what this version does
// not do. A field that says what holds anyway is not among them.
func unsupported(spec *v1alpha1.RateLimitPolicySpec) []string {
	var out []string
	for i := range spec.Limits {
		out = append(out, unsupportedInLimit(fmt.Sprintf("spec.limits[%d]", i), &spec.Limits[i])...)
	}
	if t := spec.Response.Thrift; t != nil {
		for _, f := range []struct {
			set  bool
			name string
		}{
			{t.ExceptionCode != nil && *t.ExceptionCode != 6, "exceptionCode"},
			{t.ExceptionField != 0, "exceptionField"},
			{len(t.OnewayMethods) > 0, "onewayMethods"},
		} {
			if f.set {
				out = append(out, "spec.response.thrift."+f.name)
			}
		}
	}
	return out
}

func unsupportedInLimit(path string, l *v1alpha1.Limit) []string {
	var out []string
	for i := range l.Match {
		if l.Match[i].Thrift != nil {
			out = append(out, fmt.Sprintf("%s.match[%d].thrift", path, i))
		}
	}
	out = append(out, unsupportedMembers(path+".key", l.Key)...)
	return out
}

// unsupportedIdempotency is unsupported of an IdempotencyPolicy.
func unsupportedIdempotency(spec *v1alpha1.IdempotencyPolicySpec) []string {
	var out []string
	for i := range spec.Match {
		if spec.Match[i].Thrift != nil {
			out = append(out, fmt.Sprintf("spec.match[%d].thrift", i))
		}
	}
	out = append(out, unsupportedSources("spec.key.sources", spec.Key.Sources)...)
	if d := spec.Key.Derive; d != nil {
		out = append(out, unsupportedSources("spec.key.derive.from", d.From)...)
	}
	out = append(out, unsupportedMembers("spec.scope", spec.Scope)...)
	if t := spec.Thrift; t != nil {
		if t.ExceptionField != 0 {
			out = append(out, "spec.thrift.exceptionField")
		}
		if len(t.OnewayMethods) > 0 {
			out = append(out, "spec.thrift.onewayMethods")
		}
	}
	return out
}

func unsupportedSources(path string, list []v1alpha1.ContentSource) []string {
	var out []string
	for i := range list {
		if list[i].ThriftHeader != "" {
			out = append(out, fmt.Sprintf("%s[%d].%s", path, i, "thriftHeader"))
		}
		if list[i].ThriftField != "" {
			out = append(out, fmt.Sprintf("%s[%d].%s", path, i, "thriftField"))
		}
	}
	return out
}

func unsupportedMembers(path string, list []v1alpha1.KeyMember) []string {
	var out []string
	for i := range list {
		if list[i].ThriftHeader != "" {
			out = append(out, fmt.Sprintf("%s[%d].%s", path, i, "thriftHeader"))
		}
		if list[i].ThriftField != "" {
			out = append(out, fmt.Sprintf("%s[%d].%s", path, i, "thriftField"))
		}
	}
	return out
}
