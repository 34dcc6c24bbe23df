// SPDX-License-Identifier: Apache-2.0

package api

import (
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"weir.dev/weir/config/crd"
)

// Every rule that the definitions have is broken by a case, and no case is about a rule that is gone.
func TestEveryRuleHasACase(t *testing.T) {
	cases, err := Cases()
	if err != nil {
		t.Fatal(err)
	}
	rules := map[string][]string{}
	for _, definition := range definitions(t) {
		kind := definition.Spec.Names.Kind
		for _, version := range definition.Spec.Versions {
			rules[kind] = append(rules[kind], messages(t, *version.Schema.OpenAPIV3Schema)...)
		}
	}
	covered := map[string]bool{}
	for _, c := range cases {
		if c.Rule == "" {
			continue
		}
		found := map[string]bool{}
		for _, message := range rules[c.Kind] {
			if strings.HasPrefix(message, c.Rule) {
				found[message] = true
				covered[c.Kind+message] = true
			}
		}
		if len(found) != 1 {
			t.Errorf("%s: %d rules begin with %q, want 1", c.Title(), len(found), c.Rule)
		}
	}
	for kind, all := range rules {
		for _, message := range all {
			if !covered[kind+message] {
				t.Errorf("no case in testdata breaks the rule of %s: %s", kind, message)
			}
		}
	}
}

func definitions(t *testing.T) []*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	entries, err := crd.Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var all []*apiextensionsv1.CustomResourceDefinition
	for _, entry := range entries {
		text, err := crd.Files.ReadFile(entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		definition := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(text, definition); err != nil {
			t.Fatalf("%s: %v", entry.Name(), err)
		}
		all = append(all, definition)
	}
	if len(all) != 3 {
		t.Fatalf("got %d definitions, want 3", len(all))
	}
	return all
}

// messages of all rules of a schema. Each is a sentence that says what to do.
func messages(t *testing.T, schema apiextensionsv1.JSONSchemaProps) []string {
	t.Helper()
	var all []string
	for _, rule := range schema.XValidations {
		if !strings.HasSuffix(rule.Message, ".") {
			t.Errorf("the message of rule %q is not a sentence: %q", rule.Rule, rule.Message)
		}
		all = append(all, rule.Message)
	}
	for _, property := range schema.Properties {
		all = append(all, messages(t, property)...)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		all = append(all, messages(t, *schema.Items.Schema)...)
	}
	for _, nested := range schema.AllOf {
		all = append(all, messages(t, nested)...)
	}
	return all
}
