// SPDX-License-Identifier: Apache-2.0

// Package admission is the mutating webhook around controllers/inject.
//
// In: admission reviews of pods that are created. Out: a JSON patch, or the
// reason why there is none: as an event on the pod's owner, a warning to whoever
// creates it, and a count. Before it admits a pod with a sidecar it sees to the
// trust bundle in the pod's namespace, without which the sidecar could not start.
//
// It must never fail a pod that did not opt in, and never do anything but answer
// on a dry run.
package admission
