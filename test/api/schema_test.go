// SPDX-License-Identifier: Apache-2.0

package api

import (
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/sets"
)

// Whatever users or status may make long has an upper bound: the cost of CEL and the size of objects depend on it.
func TestEverythingIsBounded(t *testing.T) {
	for _, definition := range definitions(t) {
		kind := definition.Spec.Names.Kind
		schema := definition.Spec.Versions[0].Schema.OpenAPIV3Schema
		for _, part := range []string{"spec", "status"} {
			walk(schema.Properties[part], part, func(path string, s apiextensionsv1.JSONSchemaProps) {
				switch {
				case strings.Contains(path, ".conditions[*]"):
					// metav1.Condition bounds itself, but for its time.
				case s.Type == "string" && s.MaxLength == nil && len(s.Enum) == 0:
					t.Errorf("%s: %s is a string without maxLength or enum", kind, path)
				case s.Type == "array" && s.MaxItems == nil:
					t.Errorf("%s: %s is a list without maxItems", kind, path)
				case s.Type == "integer" && part == "spec" && (s.Minimum == nil || s.Maximum == nil):
					t.Errorf("%s: %s is a number without minimum or maximum", kind, path)
				case s.Type == "array" && s.XListType == nil:
					t.Errorf("%s: %s is a list without a list type", kind, path)
				case s.Type == "object" && s.AdditionalProperties != nil:
					t.Errorf("%s: %s is a map: use a list of named things", kind, path)
				case s.Description == "" && !strings.HasSuffix(path, "[*]"):
					t.Errorf("%s: %s has no description", kind, path)
				}
			})
		}
	}
}

// testdata/full has every field, so that its tests speak for all of them.
func TestFullObjectsHaveEveryField(t *testing.T) {
	objects, err := FullObjects()
	if err != nil {
		t.Fatal(err)
	}
	for _, definition := range definitions(t) {
		kind := definition.Spec.Names.Kind
		set := sets.New[string]()
		for _, object := range objects {
			if object.GetKind() == kind {
				collect(object.Object["spec"], "spec", set)
			}
		}
		spec := definition.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
		walk(spec, "spec", func(path string, _ apiextensionsv1.JSONSchemaProps) {
			if !set.Has(path) {
				t.Errorf("no object of testdata/full sets %s of %s", path, kind)
			}
		})
	}
}

// The names by which kubectl finds and shows the kinds.
func TestNamesAndColumns(t *testing.T) {
	shortNames := map[string]string{"RateLimitPolicy": "rlp", "IdempotencyPolicy": "idp", "CallbackRoute": "cbr"}
	for _, definition := range definitions(t) {
		names := definition.Spec.Names
		if want := shortNames[names.Kind]; len(names.ShortNames) != 1 || names.ShortNames[0] != want {
			t.Errorf("%s: got short names %v, want %s", names.Kind, names.ShortNames, want)
		}
		if len(names.Categories) != 1 || names.Categories[0] != "weir" {
			t.Errorf("%s: got categories %v, want weir", names.Kind, names.Categories)
		}
		var columns []string
		for _, column := range definition.Spec.Versions[0].AdditionalPrinterColumns {
			columns = append(columns, column.Name)
		}
		if got, want := strings.Join(columns, " "), "Target Accepted Programmed Pods Age"; got != want {
			t.Errorf("%s: got columns %s, want %s", names.Kind, got, want)
		}
		if definition.Spec.Versions[0].Subresources == nil || definition.Spec.Versions[0].Subresources.Status == nil {
			t.Errorf("%s: status is not a subresource", names.Kind)
		}
		isPolicy := names.Kind != "CallbackRoute"
		if got := definition.Labels["gateway.networking.k8s.io/policy"] == "Direct"; got != isPolicy {
			t.Errorf("%s: labelled as a direct policy: %v, want %v", names.Kind, got, isPolicy)
		}
	}
}

func walk(s apiextensionsv1.JSONSchemaProps, path string, visit func(string, apiextensionsv1.JSONSchemaProps)) {
	visit(path, s)
	for name, property := range s.Properties {
		walk(property, path+"."+name, visit)
	}
	if s.Items != nil && s.Items.Schema != nil {
		walk(*s.Items.Schema, path+"[*]", visit)
	}
}

func collect(value any, path string, into sets.Set[string]) {
	into.Insert(path)
	switch value := value.(type) {
	case map[string]any:
		for name, field := range value {
			collect(field, path+"."+name, into)
		}
	case []any:
		for _, item := range value {
			collect(item, path+"[*]", into)
		}
	}
}
