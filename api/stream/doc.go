// SPDX-License-Identifier: Apache-2.0

// Package stream is what sidecar and operator say to each other, and the
// operator's replicas among themselves: messages and services made from
// stream.proto, the features that sidecars name, and Cut, which leaves out of a
// snapshot what a sidecar lacks.
//
// The package knows neither Kubernetes nor the data plane, and does no I/O but what
// gRPC's generated code does.
package stream
