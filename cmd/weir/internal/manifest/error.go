// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const unknownField = "There is no such field: correct its name or its place, or remove it."

// Error says what is wrong with a manifest, and where.
type Error struct {
	// File as it was given to Decode.
	File string
	// Line of the field, or of what should hold it; counts from 1.
	Line int
	// Object is "<Kind> <namespace>/<name>", as far as they are known.
	Object string
	// Path of the field, as in spec.limits[0].window. "" means the document as a whole.
	Path string
	// Message is one or more sentences.
	Message string

	source source
	// within is where the object stands in its document: "" or items[0].
	within string
}

// Error gives file:line, object, path and message in one line.
func (e *Error) Error() string {
	return e.Where() + ": " + e.What()
}

// Where is file:line.
func (e *Error) Where() string { return fmt.Sprintf("%s:%d", e.File, e.Line) }

// What is object, path and message.
func (e *Error) What() string {
	var parts []string
	for _, part := range []string{e.Object, e.Path} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(append(parts, e.Message), ": ")
}

func (e Error) of(u *unstructured.Unstructured) Error {
	name := u.GetName()
	if namespace := u.GetNamespace(); namespace != "" {
		name = namespace + "/" + name
	}
	e.Object = strings.TrimSpace(u.GetKind() + " " + name)
	return e
}

func (e Error) with(path, message string) error {
	e.Path, e.Message = path, message
	e.Line = e.source.line(e.within + "." + path)
	return &e
}

// malformed is what a parser says.
func (e Error) malformed(err error) error {
	line, message := e.source.syntax(err)
	e.Line, e.Message = line, fmt.Sprintf("The document is not valid YAML: %s.", message)
	return &e
}

func (e Error) all(failures field.ErrorList) []error {
	errs := make([]error, 0, len(failures))
	for _, failure := range failures {
		path := failure.Field
		if path == "<nil>" {
			path = ""
		}
		errs = append(errs, e.with(path, sentence(failure)))
	}
	return errs
}

// sentence leaves out the value of an object: it would bury the message, which the path locates.
func sentence(failure *field.Error) string {
	switch failure.BadValue.(type) {
	case map[string]any, []any:
		short := *failure
		short.BadValue = field.OmitValueType{}
		return short.ErrorBody()
	default:
		return failure.ErrorBody()
	}
}
