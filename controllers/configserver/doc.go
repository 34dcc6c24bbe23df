// SPDX-License-Identifier: Apache-2.0

// Package configserver is the gRPC server of the operator: it authenticates a
// sidecar's pod, streams the snapshot of the pod's workload to it, and takes its
// acks.
//
// In: hub.Views, and what sidecars say. Out: secrets before the snapshots that
// need them, pod counts, and rollout.PodStates. Which workload a pod belongs to
// the server decides, from the pod its token is bound to; nothing a sidecar says
// of itself is believed but its features and the hash it serves.
//
// A snapshot goes out when its hash is not what the sidecar serves. A refused
// snapshot that names the policy at fault is followed by one in which that policy
// is as it was before, so that the other policies go on.
//
// Pods of one ServiceAccount that the operator is told of, the rate limit services of
// gateways, get what governs all namespaces by a call of their own, Fleet. They ack
// nothing, and no status rests on them.
//
// The server writes nothing to the API server but TokenReviews, logs no token and
// no secret, and never sends any other pod what belongs to another namespace.
package configserver
