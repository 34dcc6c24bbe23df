// SPDX-License-Identifier: Apache-2.0

// Package compile turns the policies of a namespace into what sidecars enforce.
//
// In: policies as the API server has them, the Services and Pods of their
// namespace, the operator's configuration. Out: one Snapshot for each workload, and
// for each policy a Verdict, which is what its Accepted condition says. A policy
// that asks for what this version does not do is Unsupported with the path of the
// field, one that contradicts itself or the configuration is Invalid; neither
// competes for ports, and nothing of it is enforced.
//
// The package is pure: no client, no clock, no logger. Equal meaning gives equal
// bytes, whatever the order of lists and maps.
package compile
