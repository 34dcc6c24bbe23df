// SPDX-License-Identifier: Apache-2.0

package mapping

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"weir.dev/weir/controllers/attach"
	"weir.dev/weir/controllers/idl"
)

// maxSaid bounds the findings of a sentence for an Event, which has 1024 bytes.
const maxSaid = 3

// Compile makes the mapping of a ConfigMap's members.
func Compile(data map[string]string, of attach.IDL) Mapping {
	src := idl.Source{Files: data, Main: of.File, Routes: of.Routes}
	if src.Main == "" {
		var all []string
		for _, name := range slices.Sorted(maps.Keys(data)) {
			if strings.HasSuffix(name, ".thrift") {
				all = append(all, name)
			}
		}
		if len(all) != 1 {
			return Mapping{Problem: fmt.Sprintf("%s has %d members whose names end in .thrift: name the one with the services, as in %s/payments.thrift.",
				of.ConfigMap, len(all), of.ConfigMap)}
		}
		src.Main = all[0]
	}
	for _, name := range []string{src.Main, src.Routes} {
		if _, ok := data[name]; !ok && name != "" {
			return Mapping{Problem: fmt.Sprintf("%s has no member %s.", of.ConfigMap, name)}
		}
	}
	out, findings := idl.Compile(src)
	if idl.Failed(findings) {
		return Mapping{Problem: said(findings, false)}
	}
	return Mapping{Transcoding: out, Warnings: said(findings, true)}
}

// said are findings as sentences, the first few of them.
func said(all []idl.Finding, warning bool) string {
	var out []string
	left := 0
	for _, f := range all {
		switch {
		case f.Warning != warning:
		case len(out) == maxSaid:
			left++
		default:
			out = append(out, f.String())
		}
	}
	if left > 0 {
		out = append(out, fmt.Sprintf("There are %d more.", left))
	}
	return strings.Join(out, " ")
}
