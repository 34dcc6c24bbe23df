// SPDX-License-Identifier: Apache-2.0

// Package attach decides which policy governs which port of which pods.
//
// In: the Services, pods and policies of one namespace. Out: its workloads, which
// are the pods that the same Services select with the same resolved container
// ports, and for every target of every policy a reason of Accepted with a
// sentence, and the pods behind it.
//
// Of two policies of one kind that reach a port of a workload, through one Service
// or several, the one that names the port (sectionName) wins, then the older, then
// the one whose name comes first. Where a Service selects no pod, two policies
// conflict when they name the same port of it, so that scaling to nothing and back
// changes no verdict.
//
// The package is pure: no client, no clock, no logger. Its result does not depend
// on the order of its input.
package attach
