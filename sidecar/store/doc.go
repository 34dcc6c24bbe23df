// SPDX-License-Identifier: Apache-2.0

// Package store is the home of what filters keep: memory for state of this pod,
// redis for state that all pods share. The interfaces are where they are
// consumed, in sidecar/filter; this package holds no code.
package store
