// SPDX-License-Identifier: Apache-2.0

// Package envtest tests the operator's control plane against a real API server:
// reconcilers, config streams, acks and statuses, with several replicas. What
// stands in for sidecars here speaks the config stream and enforces nothing.
package envtest
