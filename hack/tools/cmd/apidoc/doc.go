// SPDX-License-Identifier: Apache-2.0

// Command apidoc writes the field reference of the API from the CustomResourceDefinitions.
//
// In come the files of config/crd, out goes one page of Markdown: every field with its type, default, bounds and
// description, and the rules that the API server checks. It must never say what the definitions do not.
//
//	apidoc config/crd/*.yaml > docs/api.md
package main
