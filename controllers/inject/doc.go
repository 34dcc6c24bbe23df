// SPDX-License-Identifier: Apache-2.0

// Package inject adds Weir's sidecar to a pod.
//
// In: a pod as its author or other webhooks made it, and a Profile: the
// operator's configuration and the labels of the pod's namespace. Out: a pod with
// the native sidecar first in initContainers, and a typed Reason for everything
// that was skipped, refused or is worth knowing. Inject is a pure function: the
// webhook (controllers/admission) and `weir inject` call the same one.
//
// It takes its own entries out before it puts them in, so that a second call with
// the same profile changes nothing and one with another profile replaces exactly
// what is Weir's. What it replaces in the app's containers (names of ports,
// probes, hooks) it records in an annotation, from which Uninject puts it back.
//
// It must never touch an entry that is not Weir's beyond those three, never
// reorder containers, and never change the pod it was given.
package inject
