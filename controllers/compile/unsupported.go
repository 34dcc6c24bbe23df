// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"

	"weir.dev/weir/api/v1alpha1"
)

// unsupported returns the paths of the fields that ask for what this version does
// not do. A field that says what holds anyway is not among them.
func unsupported(spec *v1alpha1.RateLimitPolicySpec) []string {
	// 0 is UNKNOWN, which sidecars take for the default.
	if t := spec.Response.Thrift; t != nil && t.ExceptionCode != nil && *t.ExceptionCode == 0 {
		return []string{"spec.response.thrift.exceptionCode"}
	}
	return nil
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
