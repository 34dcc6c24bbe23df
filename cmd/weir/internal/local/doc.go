// SPDX-License-Identifier: Apache-2.0

// Package local makes one process of what is a cluster elsewhere: it reads
// policies from files, invents the Services and the pod that the listeners
// stand for, and hands them to the operator's own attach and compile. In:
// files and listeners. Out: the snapshot that a sidecar of that pod would get
// and what a policy's status would say. It opens no socket.
package local
