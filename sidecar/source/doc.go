// SPDX-License-Identifier: Apache-2.0

// Package source is the sidecar's end of the config stream.
//
// In: snapshots, secrets and pod counts from the operator, or from the state that
// was kept before a restart. Out: calls of the Sink, acks and nacks of snapshots,
// reports. A stream that breaks is opened again after a random wait that grows to
// ten seconds; the token and the CA's certificates are read anew each time.
//
// Fleet is the end of a rate limit service: it gets what governs all namespaces, and
// acks nothing.
//
// While the operator is away, what serves goes on serving. What the Sink has
// taken is kept in a directory in memory, for a restart of the container. The
// package logs no secret and no token, and never acks what the Sink has not
// taken.
package source
