// SPDX-License-Identifier: Apache-2.0

// Package rollout knows which pod has acked what, over all replicas of the
// operator.
//
// In: what the config server says of the streams of this replica (Open, Update,
// Close), and what the other replicas say of theirs. Out: PodStates of a
// namespace, a signal when they change, and the same as JSON. Every replica
// follows the leader, which merges: of several states of one pod the newest that
// is connected holds. A replica that has been away for ReplicaGrace is forgotten
// with all it has said.
//
// Nothing here is written to the API server, and nothing is believed from a
// caller that is not this operator.
package rollout
