// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds the custom resources of the group weir.dev: RateLimitPolicy, IdempotencyPolicy and
// CallbackRoute, with the condition types and reasons that their status reports.
//
// What comes in is what users write; what goes out is objects with every default applied. All validation is in the
// markers below, from which config/crd is generated: schema, defaults and CEL. The API server and `weir run` apply the
// same files.
//
// Rules that depend on the operator's configuration, on other objects, or on a whole path pattern are compile's. This
// package must never import controllers, sidecars, or anything beyond k8s.io/apimachinery: it is imported by everyone.
//
// +kubebuilder:object:generate=true
// +groupName=weir.dev
package v1alpha1
