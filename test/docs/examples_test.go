// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/config"
)

var yamlBlock = regexp.MustCompile("(?ms)^ *```yaml\n(.*?)^ *```$")

// TestExamples: policies in pages have no field that the API does not have.
func TestExamples(t *testing.T) {
	seen := map[string]int{}
	for _, name := range pages(t) {
		for i, m := range yamlBlock.FindAllStringSubmatch(page(t, name), -1) {
			for doc := range strings.SplitSeq(m[1], "\n---\n") {
				kind, err := decode(doc)
				if err != nil {
					t.Errorf("%s, block %d: %v", name, i+1, err)
				}
				seen[kind]++
			}
		}
	}
	for _, kind := range []string{v1alpha1.KindRateLimitPolicy, v1alpha1.KindIdempotencyPolicy, v1alpha1.KindCallbackRoute} {
		if seen[kind] == 0 {
			t.Errorf("no page has an example of %s", kind)
		}
	}
}

func decode(doc string) (kind string, err error) {
	var head struct{ APIVersion, Kind string }
	if err := yaml.Unmarshal([]byte(doc), &head); err != nil {
		return "", fmt.Errorf("not YAML: %w", err)
	}
	if head.APIVersion != v1alpha1.GroupVersion.String() {
		return "", nil
	}
	into := map[string]any{
		v1alpha1.KindRateLimitPolicy:   &v1alpha1.RateLimitPolicy{},
		v1alpha1.KindIdempotencyPolicy: &v1alpha1.IdempotencyPolicy{},
		v1alpha1.KindCallbackRoute:     &v1alpha1.CallbackRoute{},
	}[head.Kind]
	if into == nil {
		return "", fmt.Errorf("there is no kind %q", head.Kind)
	}
	return head.Kind, yaml.UnmarshalStrict([]byte(doc), into)
}

// TestConfiguration: the operator takes the configuration that the page shows.
func TestConfiguration(t *testing.T) {
	_, section, _ := strings.Cut(page(t, "docs/operations.md"), "\n## Configuration\n")
	m := yamlBlock.FindStringSubmatch(section)
	if m == nil {
		t.Fatal("docs/operations.md shows no configuration")
	}
	c, err := config.Parse([]byte(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Stores) == 0 || len(c.Identity.TrustedProxies) == 0 {
		t.Errorf("the configuration is empty: %+v", c)
	}
}
