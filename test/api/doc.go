// SPDX-License-Identifier: Apache-2.0

// Package api tests that the API server keeps the rules of api/v1alpha1: each with an object that keeps it and one that
// breaks it. The same cases run without an API server in cmd/weir/internal/manifest, so that both agree.
//
// In go the cases of testdata, out come objects. To add a rule, add a case: a test fails for a rule without one.
package api
