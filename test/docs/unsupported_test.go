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

// unsupported are specs, each of which asks for one field that the page names.
var unsupported = map[string]string{
	"spec.limits[].match[].thrift":        `{limits: [{name: a, limit: 1, window: 1s, match: [{thrift: {service: S}}]}]}`,
	"spec.limits[].key[].thriftHeader":    `{limits: [{name: a, limit: 1, window: 1s, key: [{thriftHeader: h}]}]}`,
	"spec.limits[].key[].thriftField":     `{limits: [{name: a, limit: 1, window: 1s, key: [{thriftField: "1"}]}]}`,
	"spec.response.thrift.exceptionCode":  `{response: {thrift: {exceptionCode: 7}}}`,
	"spec.response.thrift.exceptionField": `{response: {thrift: {exceptionField: 1}}}`,
	"spec.response.thrift.onewayMethods":  `{response: {thrift: {onewayMethods: [m]}}}`,
}

// TestUnsupported: what the page lists is what compile refuses.
func TestUnsupported(t *testing.T) {
	_, section, ok := strings.Cut(page(t, "docs/ratelimiting.md"), "\n## Not supported yet\n")
	if !ok {
		t.Fatal("docs/ratelimiting.md has no section of what is not supported")
	}
	var tested []string
	for field := range unsupported {
		tested = append(tested, field)
	}
	same(t, set(tested), matches("(?m)^\\| `(spec\\.[^`]+)` \\|", section))
	for field, spec := range unsupported {
		t.Run(field, func(t *testing.T) {
			v := verdict(t, spec)
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
				for field := range unsupported {
					if field == s || strings.HasSuffix(field, "."+s) {
						return true
					}
				}
				t.Errorf("%q is in the code's list, but in no field of docs/ratelimiting.md", s)
				return true
			})
			return false
		})
	}
	if seen == 0 {
		t.Fatal("the code lists nothing: this test looks in the wrong place")
	}
}

func verdict(t *testing.T, spec string) compile.Verdict {
	t.Helper()
	p := v1alpha1.RateLimitPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "shop"}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatal(err)
	}
	p.Spec.TargetRefs = []v1alpha1.TargetRef{{Name: "payments"}}
	out := compile.Compile(compile.Input{Namespace: "shop", Config: config.Default(), RateLimitPolicies: []v1alpha1.RateLimitPolicy{p}})
	if len(out.Verdicts) != 1 {
		t.Fatalf("got %d verdicts", len(out.Verdicts))
	}
	return out.Verdicts[0]
}
