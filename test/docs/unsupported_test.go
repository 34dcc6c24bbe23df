// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"go/ast"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/compile"
	"weir.dev/weir/controllers/config"
)

// unsupported are specs by page, each of which asks for one field that the page names.
var unsupported = map[string]map[string]string{"docs/ratelimiting.md": {
	"spec.response.thrift.exceptionCode": `{response: {thrift: {exceptionCode: 0}}}`,
}, "docs/idempotency.md": {
	"spec.match[].thrift":                 `{scope: [{header: h}], match: [{thrift: {service: S}}]}`,
	"spec.key.sources[].thriftHeader":     `{scope: [{header: h}], key: {sources: [{thriftHeader: h}]}}`,
	"spec.key.sources[].thriftField":      `{scope: [{header: h}], key: {sources: [{thriftField: "1"}]}}`,
	"spec.key.derive.from[].thriftHeader": `{scope: [{header: h}], key: {onMissing: Derive, derive: {from: [{thriftHeader: h}]}}}`,
	"spec.key.derive.from[].thriftField":  `{scope: [{header: h}], key: {onMissing: Derive, derive: {from: [{thriftField: "1"}]}}}`,
	"spec.scope[].thriftHeader":           `{scope: [{thriftHeader: h}]}`,
	"spec.scope[].thriftField":            `{scope: [{thriftField: "1"}]}`,
	"spec.thrift.exceptionField":          `{scope: [{header: h}], thrift: {exceptionField: 1}}`,
	"spec.thrift.onewayMethods":           `{scope: [{header: h}], thrift: {onewayMethods: [m]}}`,
}}

// TestUnsupported: what the page lists is what compile refuses.
func TestUnsupported(t *testing.T) {
	for name, specs := range unsupported {
		_, section, ok := strings.Cut(page(t, name), "\n## Not supported yet\n")
		if !ok {
			t.Fatalf("%s has no section of what is not supported", name)
		}
		var tested []string
		for field := range specs {
			tested = append(tested, field)
		}
		same(t, set(tested), matches("(?m)^\\| `(spec\\.[^`]+)` \\|", section))
		refused(t, name, specs)
	}
}

func refused(t *testing.T, name string, specs map[string]string) {
	for field, spec := range specs {
		t.Run(name+"/"+field, func(t *testing.T) {
			v := verdict(t, name, spec)
			if v.Reason != v1alpha1.ReasonUnsupported || !strings.Contains(regexp.MustCompile(`\[\d+\]`).ReplaceAllString(v.Message, "[]"), field) {
				t.Errorf("got %s: %s", v.Reason, v.Message)
			}
		})
	}
}

// TestEveryUnsupportedFieldIsListed: each name in compile's list ends one of the
// fields above.
func TestEveryUnsupportedFieldIsListed(t *testing.T) {
	name := regexp.MustCompile(`^[a-z][A-Za-z]*(\.[a-zA-Z]+)*$`)
	seen := 0
	for _, f := range goFiles(t, "controllers/compile")[filepath.Join(root, "controllers/compile")] {
		ast.Inspect(f, func(n ast.Node) bool {
			fn, ok := n.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(fn.Name.Name, "unsupported") {
				return true
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				s, ok := literal(n)
				if !ok || !name.MatchString(s) {
					return true
				}
				seen++
				for _, specs := range unsupported {
					for field := range specs {
						if field == s || strings.HasSuffix(field, "."+s) || strings.HasPrefix(field, s+"[]") {
							return true
						}
					}
				}
				t.Errorf("%q is in the code's list, but in no field of the pages", s)
				return true
			})
			return false
		})
	}
	if seen == 0 {
		t.Fatal("the code lists nothing: this test looks in the wrong place")
	}
}

func verdict(t *testing.T, name, spec string) compile.Verdict {
	t.Helper()
	meta, targets := metav1.ObjectMeta{Name: "p", Namespace: "shop"}, []v1alpha1.TargetRef{{Name: "payments"}}
	limits, records := v1alpha1.RateLimitPolicy{ObjectMeta: meta}, v1alpha1.IdempotencyPolicy{ObjectMeta: meta}
	in := compile.Input{Namespace: "shop", Config: config.Default()}
	var into any = &limits.Spec
	if name == "docs/idempotency.md" {
		into = &records.Spec
	}
	if err := yaml.UnmarshalStrict([]byte(spec), into); err != nil {
		t.Fatal(err)
	}
	if limits.Spec.TargetRefs, records.Spec.TargetRefs = targets, targets; name == "docs/idempotency.md" {
		in.IdempotencyPolicies = []v1alpha1.IdempotencyPolicy{records}
	} else {
		in.RateLimitPolicies = []v1alpha1.RateLimitPolicy{limits}
	}
	out := compile.Compile(in)
	if len(out.Verdicts) != 1 {
		t.Fatalf("got %d verdicts", len(out.Verdicts))
	}
	return out.Verdicts[0]
}
