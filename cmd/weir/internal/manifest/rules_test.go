// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"context"
	"io/fs"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"weir.dev/weir/config/crd"
	"weir.dev/weir/test/api"
)

// The API server would take the definitions: structural, defaults that keep the rules, CEL within its cost budget.
func TestDefinitionsAreValid(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := apiextensions.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(crd.Files, "*.yaml")
	if err != nil || len(names) != 3 {
		t.Fatalf("got definitions %v and error %v, want three", names, err)
	}
	for _, name := range names {
		text, err := crd.Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		definition := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(text, definition); err != nil {
			t.Fatal(err)
		}
		scheme.Default(definition)
		internal := &apiextensions.CustomResourceDefinition{}
		if err := scheme.Convert(definition, internal, nil); err != nil {
			t.Fatal(err)
		}
		internal.Status.StoredVersions = []string{"v1alpha1"}
		for _, err := range validation.ValidateCustomResourceDefinition(t.Context(), internal) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The decoder takes and refuses what the API server does in test/api, at the same field and with the same message.
func TestRulesWithoutServer(t *testing.T) {
	decoder := newDecoder(t)
	cases, err := api.Cases()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Title(), func(t *testing.T) {
			validator := decoder.kinds[c.Good.GroupVersionKind()]
			var old *unstructured.Unstructured
			if c.Old != nil {
				old = c.Old.DeepCopy()
				if errs := validator.Admit(t.Context(), old, nil); len(errs) > 0 {
					t.Fatalf("old object refused: %v", errs.ToAggregate())
				}
			}
			if errs := validator.Admit(t.Context(), c.Good.DeepCopy(), old); len(errs) > 0 {
				t.Errorf("good object refused: %v", errs.ToAggregate())
			}
			errs := validator.Admit(t.Context(), c.Bad.DeepCopy(), old)
			if !names(errs, c.Path, c.Message) {
				t.Errorf("bad object: got %v\nwant %q at %s", errs.ToAggregate(), c.Message, c.Path)
			}
			if c.Old == nil {
				decodesAlike(t.Context(), t, decoder, c)
			}
		})
	}
}

func decodesAlike(ctx context.Context, t *testing.T, decoder *Decoder, c api.Case) {
	t.Helper()
	for object, wantObjects := range map[*unstructured.Unstructured]int{c.Good: 1, c.Bad: 0} {
		text, err := yaml.Marshal(object.Object)
		if err != nil {
			t.Fatal(err)
		}
		result, errs := decoder.Decode(ctx, "case.yaml", text)
		if got := len(result.Objects); got != wantObjects || (len(errs) == 0) != (wantObjects == 1) {
			t.Errorf("decoded %d objects with errors %v, want %d objects", got, errs, wantObjects)
		}
	}
}

func names(errs field.ErrorList, path, message string) bool {
	for _, err := range errs {
		if err.Field == path && strings.Contains(err.ErrorBody(), message) {
			return true
		}
	}
	return false
}

func newDecoder(t *testing.T) *Decoder {
	t.Helper()
	decoder, err := NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	return decoder
}
