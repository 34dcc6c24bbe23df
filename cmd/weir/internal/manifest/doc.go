// SPDX-License-Identifier: Apache-2.0

// Package manifest reads manifests without an API server and treats them as one would.
//
// In comes YAML of one or several documents. Out go typed objects with all defaults applied, or errors that name file,
// line, object and field path. Unknown fields are errors. Schema, defaults, list types and CEL come from config/crd
// through the API server's own code, so that what runs here is what applies there.
//
// The package must never accept what the API server refuses, read a file, or look at other objects: references and
// conflicts are attach's.
package manifest
