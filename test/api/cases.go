// SPDX-License-Identifier: Apache-2.0

package api

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

//go:embed testdata/*.yaml testdata/full/*.yaml
var testdata embed.FS

// Case is one rule of the API, with an object that keeps it and one that breaks it.
type Case struct {
	// Kind of both objects.
	Kind string
	// Name says what the case shows.
	Name string
	// Rule is the beginning of the message of a CEL rule; "" for a rule of the schema.
	Rule string
	// Message is part of the error.
	Message string
	// Path of the field that the error names.
	Path string
	// Old is the object that both replace; nil where they are created.
	Old *unstructured.Unstructured
	// Good keeps the rule.
	Good *unstructured.Unstructured
	// Bad breaks it.
	Bad *unstructured.Unstructured
}

type caseFile struct {
	Base  json.RawMessage `json:"base"`
	Cases []struct {
		Name    string          `json:"name"`
		Rule    string          `json:"rule"`
		Message string          `json:"message"`
		Path    string          `json:"path"`
		Base    json.RawMessage `json:"base"`
		Old     json.RawMessage `json:"old"`
		Good    json.RawMessage `json:"good"`
		Bad     json.RawMessage `json:"bad"`
	} `json:"cases"`
}

// Cases reads testdata: objects are written as merge patches (RFC 7386) onto the file's base and the case's.
func Cases() ([]Case, error) {
	names, err := fs.Glob(testdata, "testdata/*.yaml")
	if err != nil {
		return nil, err
	}
	var cases []Case
	for _, name := range names {
		text, err := testdata.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var file caseFile
		if err := yaml.UnmarshalStrict(text, &file); err != nil {
			return nil, fmt.Errorf("parse %s: %w", name, err)
		}
		for _, c := range file.Cases {
			one := Case{Name: c.Name, Rule: c.Rule, Message: c.Message, Path: c.Path}
			if one.Message == "" {
				one.Message = c.Rule
			}
			for target, patch := range map[**unstructured.Unstructured]json.RawMessage{
				&one.Old: c.Old, &one.Good: c.Good, &one.Bad: c.Bad,
			} {
				if *target, err = build(file.Base, c.Base, patch); err != nil {
					return nil, fmt.Errorf("%s: case %q: %w", name, c.Name, err)
				}
			}
			if one.Good == nil || one.Bad == nil || one.Message == "" || one.Path == "" {
				return nil, fmt.Errorf("%s: case %q lacks good, bad, path, or one of rule and message", name, c.Name)
			}
			one.Kind = one.Good.GetKind()
			cases = append(cases, one)
		}
	}
	return cases, nil
}

// FullObjects are valid objects that together set every field of spec.
func FullObjects() ([]*unstructured.Unstructured, error) {
	names, err := fs.Glob(testdata, "testdata/full/*.yaml")
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for _, name := range names {
		text, err := testdata.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for document := range strings.SplitSeq(string(text), "\n---\n") {
			object := &unstructured.Unstructured{}
			if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
				return nil, fmt.Errorf("parse %s: %w", name, err)
			}
			objects = append(objects, object)
		}
	}
	return objects, nil
}

// build returns nil where there is no patch.
func build(base, caseBase, patch json.RawMessage) (*unstructured.Unstructured, error) {
	if patch == nil {
		return nil, nil
	}
	merged := []byte(base)
	for _, one := range []json.RawMessage{caseBase, patch} {
		if one == nil {
			continue
		}
		var err error
		if merged, err = jsonpatch.MergePatch(merged, one); err != nil {
			return nil, fmt.Errorf("merge: %w", err)
		}
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(merged); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return object, nil
}

// Title names a case in a test.
func (c Case) Title() string { return strings.ReplaceAll(c.Kind+"/"+c.Name, " ", "_") }
