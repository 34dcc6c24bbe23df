// SPDX-License-Identifier: Apache-2.0

// Package hub keeps the newest publication of every workload, and says which
// workload a pod belongs to, for the config streams of this replica.
//
// In: Publish and Delete of workloads, Assign and Forget of pods, both by
// controllers/policy. Out: for each Subscription a signal that something has
// changed and a View of how things are now; a subscriber that is slow skips what
// lies between. A view's snapshot is cut to the features of its subscriber, and
// the hashes of those cuts are remembered, so that an ack can be read as
// generations of policies.
//
// A Fleet is told of all namespaces: configserver has one for each rate limit service
// of gateways, and for nobody else.
//
// The hub does no I/O, waits for nobody, and never shows a Subscription the
// publication of another workload.
package hub
