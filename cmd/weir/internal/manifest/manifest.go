// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"weir.dev/weir/api/v1alpha1"
)

// DefaultNamespace is the namespace of objects that name none.
const DefaultNamespace = "default"

// Result is what one file holds, in the order of its documents.
type Result struct {
	// Objects of known kinds: pointers to RateLimitPolicy, IdempotencyPolicy, CallbackRoute, Service, Pod, Secret or
	// ConfigMap. Weir's have their defaults; those of core are as written, so that a Service's port may lack what the
	// API server would fill in.
	Objects []client.Object
	// Unknown documents are of other kinds, and were not looked at.
	Unknown []Unknown
}

// Unknown is a document of a kind that Weir does not read.
type Unknown struct {
	File string
	Line int
	Kind schema.GroupVersionKind
	Name string
}

// Decoder decodes manifests. It is safe for concurrent use.
type Decoder struct {
	scheme *runtime.Scheme
	kinds  map[schema.GroupVersionKind]*Validator
}

// NewDecoder compiles the schemas and rules of config/crd, which takes a noticeable part of a second.
func NewDecoder() (*Decoder, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("build scheme: %w", err)
	}
	kinds, err := loadValidators()
	if err != nil {
		return nil, err
	}
	return &Decoder{scheme: scheme, kinds: kinds}, nil
}

// Decode reads all documents of data. It goes on after an error: all errors are returned, each a *Error, with the objects
// that have none.
func (d *Decoder) Decode(ctx context.Context, file string, data []byte) (Result, []error) {
	var (
		result Result
		errs   []error
		seen   = map[string]int{}
		place  = newCursor(data)
	)
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		text, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return result, errs
		}
		at := Error{File: file, source: place.next(text)}
		if err != nil {
			return result, append(errs, at.with("", fmt.Sprintf("The document cannot be read: %v.", err)))
		}
		content, failure := parse(at, text)
		if failure != nil {
			errs = append(errs, failure)
			continue
		}
		items, isList := flatten(content)
		for i, item := range items {
			if isList {
				at.within = fmt.Sprintf("items[%d]", i)
			}
			object, failures := d.object(ctx, at, item, &result)
			errs = append(errs, failures...)
			if object == nil {
				continue
			}
			identity := fmt.Sprintf("%s %s", item.GetKind(), client.ObjectKeyFromObject(object))
			if first, repeated := seen[identity]; repeated {
				errs = append(errs, at.of(item).with("metadata.name",
					fmt.Sprintf("Line %d has an object of this kind and name too: remove one or rename it.", first)))
				continue
			}
			seen[identity] = at.source.line(at.within)
			result.Objects = append(result.Objects, object)
		}
	}
}

// parse returns nil without an error for a document without content.
func parse(at Error, text []byte) (map[string]any, error) {
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, at.malformed(err)
	}
	var content any
	if err := utiljson.Unmarshal(asJSON, &content); err != nil {
		return nil, at.malformed(err)
	}
	switch content := content.(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return content, nil
	default:
		return nil, at.with("", "The document is not an object: begin it with apiVersion and kind.")
	}
}

// flatten gives the items of a v1 List, as kubectl prints them, and else the object itself.
func flatten(content map[string]any) (objects []*unstructured.Unstructured, isList bool) {
	if content == nil {
		return nil, false
	}
	object := &unstructured.Unstructured{Object: content}
	items, isList := content["items"].([]any)
	if object.GetAPIVersion() != "v1" || object.GetKind() != "List" || !isList {
		return []*unstructured.Unstructured{object}, false
	}
	for _, item := range items {
		// What is not an object becomes one without a kind, which is then refused.
		fields, _ := item.(map[string]any)
		objects = append(objects, &unstructured.Unstructured{Object: fields})
	}
	return objects, true
}

// object checks one object and makes it typed. A nil object without errors is of an unknown kind.
func (d *Decoder) object(ctx context.Context, at Error, u *unstructured.Unstructured, result *Result) (client.Object, []error) {
	at = at.of(u)
	gvk := u.GroupVersionKind()
	if u.GetAPIVersion() == "" || gvk.Kind == "" {
		return nil, []error{at.with("", "The object has no apiVersion or no kind: set both.")}
	}
	validator, ours := d.kinds[gvk]
	switch {
	case !ours && gvk.Group == v1alpha1.GroupName:
		return nil, []error{at.with("", fmt.Sprintf(
			"There is no kind %s in %s: use RateLimitPolicy, IdempotencyPolicy or CallbackRoute of %s.",
			gvk.Kind, gvk.GroupVersion(), v1alpha1.GroupVersion))}
	case !ours && !isReadFromCore(gvk):
		result.Unknown = append(result.Unknown, Unknown{File: at.File, Line: at.source.line(at.within), Kind: gvk, Name: u.GetName()})
		return nil, nil
	}
	if ours {
		if failures := validator.Admit(ctx, u, nil); len(failures) > 0 {
			return nil, at.all(failures)
		}
	}
	return d.typed(at, u)
}

func (d *Decoder) typed(at Error, u *unstructured.Unstructured) (client.Object, []error) {
	object, err := d.scheme.New(u.GroupVersionKind())
	if err != nil {
		return nil, []error{at.with("", fmt.Sprintf("The kind cannot be read: %v.", err))}
	}
	typed, ok := object.(client.Object)
	if !ok {
		return nil, []error{at.with("", "The kind is not one of single objects.")}
	}
	asJSON, err := u.MarshalJSON()
	if err != nil {
		return nil, []error{at.with("", fmt.Sprintf("The object cannot be read: %v.", err))}
	}
	unknown, err := kjson.UnmarshalStrict(asJSON, typed)
	if err != nil {
		return nil, []error{at.with("", fmt.Sprintf("The object cannot be read: %v.", err))}
	}
	var failures []error
	for _, err := range unknown {
		path := ""
		var field kjson.FieldError
		if errors.As(err, &field) {
			path = field.FieldPath()
		}
		failures = append(failures, at.with(path, unknownField))
	}
	if len(failures) > 0 {
		return nil, failures
	}
	if typed.GetNamespace() == "" {
		typed.SetNamespace(DefaultNamespace)
	}
	return typed, nil
}

func isReadFromCore(gvk schema.GroupVersionKind) bool {
	if gvk.GroupVersion() != corev1.SchemeGroupVersion {
		return false
	}
	switch gvk.Kind {
	case "Service", "Pod", "Secret", "ConfigMap":
		return true
	default:
		return false
	}
}
