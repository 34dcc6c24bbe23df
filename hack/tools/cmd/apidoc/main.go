// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

const preamble = `# API reference

Generated from ` + "`config/crd`" + ` by ` + "`hack/codegen/generate.sh`" + `; do not edit. ` + "`[]`" + ` in a path stands for each item of a list.
A field whose feature this version does not have is refused with ` + "`Accepted=False`" + `, reason ` + "`Unsupported`" + `, and the field's path.

`

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "apidoc:", err)
		os.Exit(1)
	}
}

func run(files []string, out io.Writer) error {
	var page bytes.Buffer
	page.WriteString(preamble)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var definition apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(text, &definition); err != nil {
			return fmt.Errorf("parse %s: %w", file, err)
		}
		for _, version := range definition.Spec.Versions {
			writeKind(&page, definition.Spec, version)
		}
	}
	_, err := out.Write(append(bytes.TrimRight(page.Bytes(), "\n"), '\n'))
	return err
}

func writeKind(page *bytes.Buffer, spec apiextensionsv1.CustomResourceDefinitionSpec, version apiextensionsv1.CustomResourceDefinitionVersion) {
	schema := version.Schema.OpenAPIV3Schema
	fmt.Fprintf(page, "## %s\n\n%s\n\n", spec.Names.Kind, schema.Description)
	fmt.Fprintf(page, "`%s/%s`, short name `%s`.\n\n", spec.Group, version.Name, strings.Join(spec.Names.ShortNames, "`, `"))
	page.WriteString("| field | type | default | description |\n|---|---|---|---|\n")
	for _, part := range []string{"spec", "status"} {
		writeFields(page, part, schema.Properties[part], slices.Contains(schema.Required, part))
	}
	page.WriteString("\nRules:\n\n")
	writeRules(page, "", *schema)
	page.WriteString("\n")
}

func writeFields(page *bytes.Buffer, path string, schema apiextensionsv1.JSONSchemaProps, required bool) {
	if strings.HasSuffix(path, ".conditions[]") {
		// metav1.Condition is described by Kubernetes.
		return
	}
	if !strings.HasSuffix(path, "[]") {
		value := ""
		switch {
		case schema.Default != nil:
			value = "`" + string(schema.Default.Raw) + "`"
		case required:
			value = "*required*"
		}
		fmt.Fprintf(page, "| `%s` | %s | %s | %s |\n", path, cell(describe(schema)), cell(value), cell(schema.Description))
	}
	for _, name := range sorted(schema.Properties) {
		writeFields(page, path+"."+name, schema.Properties[name], slices.Contains(schema.Required, name))
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		writeFields(page, path+"[]", *schema.Items.Schema, false)
	}
}

// describe says what values a field may have.
func describe(schema apiextensionsv1.JSONSchemaProps) string {
	var parts []string
	if len(schema.Enum) > 0 {
		var values []string
		for _, value := range schema.Enum {
			values = append(values, "`"+strings.Trim(string(value.Raw), `"`)+"`")
		}
		if len(values) == 1 && values[0] == "``" {
			values[0] = "`\"\"`"
		}
		return strings.Join(values, ", ")
	}
	switch {
	case schema.Type == "array" && schema.Items != nil && schema.Items.Schema != nil:
		parts = append(parts, "list of "+describe(*schema.Items.Schema))
		if schema.MaxItems != nil {
			parts = append(parts, fmt.Sprintf("%d items at most", *schema.MaxItems))
		}
	case schema.Type == "object":
		parts = append(parts, "object")
	default:
		parts = append(parts, schema.Type)
	}
	if schema.Minimum != nil && schema.Maximum != nil {
		parts = append(parts, fmt.Sprintf("%.0f to %.0f", *schema.Minimum, *schema.Maximum))
	}
	if schema.Pattern != "" {
		parts = append(parts, "pattern `"+schema.Pattern+"`")
	}
	if schema.MaxLength != nil {
		parts = append(parts, fmt.Sprintf("%d characters at most", *schema.MaxLength))
	}
	return strings.Join(parts, ", ")
}

func writeRules(page *bytes.Buffer, path string, schema apiextensionsv1.JSONSchemaProps) {
	for _, rule := range schema.XValidations {
		at := path + rule.FieldPath
		if at = strings.TrimPrefix(at, "."); at == "" {
			at = "metadata"
		}
		fmt.Fprintf(page, "- `%s`: %s\n", at, rule.Message)
	}
	for _, name := range sorted(schema.Properties) {
		writeRules(page, path+"."+name, schema.Properties[name])
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		writeRules(page, path+"[]", *schema.Items.Schema)
	}
}

// cell keeps text within one cell of a table.
func cell(text string) string {
	return strings.NewReplacer("\n", " ", "|", `\|`, "<", "&lt;").Replace(text)
}

func sorted(properties map[string]apiextensionsv1.JSONSchemaProps) []string {
	names := make([]string, 0, len(properties))
	for name := range properties {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
