// SPDX-License-Identifier: Apache-2.0

// Package snapshot is the compiled policy of one workload: all that a sidecar
// knows.
//
// In: protobuf messages that controllers/compile makes. Out: their Hash, and
// Validate, which says whether a message keeps the order and the references that
// the proto promises. What a sidecar can enforce of it is the engine's to say.
//
// The package knows neither Kubernetes nor the data plane, and does no I/O.
package snapshot
