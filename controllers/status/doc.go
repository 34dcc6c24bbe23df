// SPDX-License-Identifier: Apache-2.0

// Package status writes the status of policies, and nobody else does.
//
// In: the verdicts of controllers/compile, and what controllers/rollout knows of
// every pod. Out: conditions, targets, counts. What a status says is a pure
// function of these (Conditions); around it is a loop that runs on the leader
// only, writes a changed condition at once, mere counts at most every 5 s, and
// what has not changed never.
//
// Programmed follows from acks alone. A pod that lags, or was disconnected, for
// 30 s leaves the denominator once another pod has acked, as does one that refuses,
// or has no sidecar, or one too old: Programmed is then PartiallyProgrammed, with
// counts.
package status
