// SPDX-License-Identifier: Apache-2.0

// Package crd carries the CustomResourceDefinitions that controller-gen makes from api/v1alpha1, for programs that check
// objects without an API server. Nothing comes in; files named weir.dev_<plural>.yaml go out.
package crd

import "embed"

// Files are the CustomResourceDefinitions, one per file.
//
//go:embed weir.dev_*.yaml
var Files embed.FS
