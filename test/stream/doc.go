// SPDX-License-Identifier: Apache-2.0

// Package stream tests both ends of the config stream together: the operator's
// hub, config server and rollout, and the sidecar's source and engine, over TLS on
// loopback. Only the API server is missing: tokens are names of pods.
package stream
