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
	for i := range l.Key {
		k := &l.Key[i]
		for _, f := range []struct {
			set  bool
			name string
		}{
			{k.ThriftHeader != "", "thriftHeader"},
			{k.ThriftField != "", "thriftField"},
		} {
			if f.set {
				out = append(out, fmt.Sprintf("%s.key[%d].%s", path, i, f.name))
			}
		}
	}
	for _, f := range []struct {
		set  bool
		name string
	}{
		{l.Cost != nil && l.Cost.ResponseHeader != "", "cost.responseHeader"},
		{l.Replays == v1alpha1.ReplaysFree, "replays"},
	} {
		if f.set {
			out = append(out, path+"."+f.name)
		}
	}
	return out
}
