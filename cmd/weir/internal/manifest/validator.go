// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"context"
	"fmt"
	"io/fs"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	apimachineryvalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"weir.dev/weir/config/crd"
)

// Validator admits objects of one kind as the API server would.
type Validator struct {
	structural *structuralschema.Structural
	schema     validation.SchemaValidator
	rules      *cel.Validator
}

// loadValidators makes one validator for each kind and version of config/crd.
func loadValidators() (map[schema.GroupVersionKind]*Validator, error) {
	names, err := fs.Glob(crd.Files, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list definitions: %w", err)
	}
	validators := map[schema.GroupVersionKind]*Validator{}
	for _, name := range names {
		text, err := crd.Files.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read definition: %w", err)
		}
		var definition apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(text, &definition); err != nil {
			return nil, fmt.Errorf("parse definition %s: %w", name, err)
		}
		for _, version := range definition.Spec.Versions {
			kind := schema.GroupVersionKind{
				Group: definition.Spec.Group, Version: version.Name, Kind: definition.Spec.Names.Kind,
			}
			if validators[kind], err = newValidator(version.Schema.OpenAPIV3Schema); err != nil {
				return nil, fmt.Errorf("compile definition %s: %w", name, err)
			}
		}
	}
	return validators, nil
}

func newValidator(props *apiextensionsv1.JSONSchemaProps) (*Validator, error) {
	internal := &apiextensions.JSONSchemaProps{}
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(props, internal, nil); err != nil {
		return nil, fmt.Errorf("convert schema: %w", err)
	}
	structural, err := structuralschema.NewStructural(internal)
	if err != nil {
		return nil, fmt.Errorf("read structural schema: %w", err)
	}
	if err := defaulting.PruneDefaults(structural); err != nil {
		return nil, fmt.Errorf("prune defaults: %w", err)
	}
	schemaValidator, _, err := validation.NewSchemaValidator(internal)
	if err != nil {
		return nil, fmt.Errorf("build schema validator: %w", err)
	}
	return &Validator{
		structural: structural,
		schema:     schemaValidator,
		rules:      cel.NewValidator(structural, true, celconfig.PerCallLimit),
	}, nil
}

// Admit applies defaults to u and says what is wrong with it. With old, the object it would replace, rules on changes hold
// too. It does what the API server does, in its order.
func (v *Validator) Admit(ctx context.Context, u, old *unstructured.Unstructured) field.ErrorList {
	defaulting.Default(u.Object, v.structural)
	unknown := pruning.PruneWithOptions(u.Object, v.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	defaulting.PruneNonNullableNullsWithoutDefaults(u.Object, v.structural)
	var errs field.ErrorList
	for _, path := range unknown {
		errs = append(errs, &field.Error{Type: field.ErrorTypeForbidden, Field: path, Detail: unknownField})
	}

	meta, _, err := objectmeta.GetObjectMeta(u.Object, false)
	if err != nil {
		return append(errs, field.Invalid(field.NewPath("metadata"), field.OmitValueType{}, err.Error()))
	}
	if meta != nil {
		namespaced := *meta
		if namespaced.Namespace == "" {
			namespaced.Namespace = DefaultNamespace
		}
		errs = append(errs, apimachineryvalidation.ValidateObjectMeta(
			&namespaced, true, apimachineryvalidation.NameIsDNSSubdomain, field.NewPath("metadata"))...)
	} else {
		errs = append(errs, field.Required(field.NewPath("metadata", "name"), "name is required"))
	}

	if old == nil {
		errs = append(errs, validation.ValidateCustomResource(nil, u.Object, v.schema)...)
	} else {
		errs = append(errs, validation.ValidateCustomResourceUpdate(nil, u.Object, old.Object, v.schema)...)
	}
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, v.structural, u.Object)...)
	if v.rules == nil || preventsRules(errs) {
		return errs
	}
	var oldObject any
	if old != nil {
		oldObject = old.Object
	}
	violations, _ := v.rules.Validate(ctx, nil, v.structural, u.Object, oldObject, celconfig.RuntimeCELCostBudget)
	return append(errs, violations...)
}

// preventsRules tells whether rules could fail for want of a sound object.
func preventsRules(errs field.ErrorList) bool {
	for _, err := range errs {
		switch err.Type {
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany,
			field.ErrorTypeTypeInvalid:
			return true
		}
	}
	return false
}
