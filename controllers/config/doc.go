// SPDX-License-Identifier: Apache-2.0

// Package config is the operator's configuration: the stores that policies may
// name, who the client is, how pods are injected. Policies can only narrow it.
//
// In: YAML, as the chart writes it. Out: a Config with every default filled in,
// or errors that are sentences with the field's path. What this version does not
// do is refused, never ignored.
//
// The package is pure: it reads no file and no cluster.
package config
