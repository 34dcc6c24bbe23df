// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"slices"
	"strings"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
)

// maxParams is how many parameters sidecars read from a template.
const maxParams = 16

func (b *builder) matchList() []*snapshot.Match {
	var out []*snapshot.Match
	b.everything = b.everything || len(b.match) == 0
	for i := range b.match {
		if t := b.match[i].Thrift; t != nil {
			b.thrift = true
			out = append(out, &snapshot.Match{Kind: &snapshot.Match_Thrift{Thrift: &snapshot.ThriftMatch{
				Service: t.Service, Methods: sorted(t.Methods),
			}}})
			continue
		}
		field := fmt.Sprintf("match[%d].http", i)
		h := b.match[i].HTTP
		if h == nil {
			b.invalid(fmt.Sprintf("match[%d]", i), "The match is for no protocol: set http or thrift.")
			continue
		}
		b.http = true
		out = append(out, &snapshot.Match{Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{
			Methods: sorted(h.Methods),
			Path:    b.pathMatch(field+".path", h.Path),
			Headers: b.headerMatches(field+".headers", h.Headers),
		}}})
	}
	return canonical(out)
}

// sorted are the words of a list whose order has no meaning, each once.
func sorted[T ~string](list []T) []string {
	var out []string
	for _, m := range list {
		out = append(out, string(m))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (b *builder) headerMatches(field string, list []v1alpha1.HeaderMatch) []*snapshot.HeaderMatch {
	var out []*snapshot.HeaderMatch
	seen := map[string]string{}
	for i, h := range list {
		name := strings.ToLower(string(h.Name))
		if value, again := seen[name]; again {
			if value != h.Value {
				b.invalid(fmt.Sprintf("%s[%d].name", field, i), "Header %s is there already with another value; both can never hold.", h.Name)
			}
			continue
		}
		seen[name] = h.Value
		out = append(out, &snapshot.HeaderMatch{Name: name, Value: h.Value})
	}
	slices.SortFunc(out, func(a, b *snapshot.HeaderMatch) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out
}

func (b *builder) pathMatch(field string, p *v1alpha1.PathMatch) *snapshot.PathMatch {
	if p == nil {
		return nil
	}
	b.checkPath(field+".value", p)
	return &snapshot.PathMatch{
		Type: map[v1alpha1.PathMatchType]snapshot.PathMatch_Type{
			v1alpha1.PathMatchExact:    snapshot.PathMatch_TYPE_EXACT,
			v1alpha1.PathMatchPrefix:   snapshot.PathMatch_TYPE_PREFIX,
			v1alpha1.PathMatchTemplate: snapshot.PathMatch_TYPE_TEMPLATE,
		}[p.Type],
		Value: p.Value,
	}
}

// checkPath refuses what no request can match once its path is normalised.
func (b *builder) checkPath(field string, p *v1alpha1.PathMatch) {
	var params []string
	inner := strings.TrimSuffix(strings.TrimPrefix(p.Value, "/"), "/")
	if inner == "" {
		return
	}
	for segment := range strings.SplitSeq(inner, "/") {
		switch {
		case segment == "" || segment == "." || segment == "..":
			b.invalid(field, "No request has the segment %q once its path is normalised: remove it.", segment)
		case p.Type == v1alpha1.PathMatchTemplate && strings.HasPrefix(segment, "{"):
			if slices.Contains(params, segment) {
				b.invalid(field, "%s comes twice: name the parameters differently.", segment)
			}
			params = append(params, segment)
		}
	}
	if len(params) > maxParams {
		b.invalid(field, "A template has %d parameters at the most.", maxParams)
	}
}
