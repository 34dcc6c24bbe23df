// SPDX-License-Identifier: Apache-2.0

// Package rls is Envoy's rate limit protocol, envoy.service.ratelimit.v3, as far as
// Weir speaks it.
//
// In: calls of Envoy, and of whatever speaks to a rate limit service as it does.
// Out: the messages, and a description of the service to register at a gRPC server.
//
// The messages have the numbers and types of Envoy's on the wire, and names of
// their own: a program that has Envoy's too, as tests have, can hold both. Values
// of descriptor entries are bytes here, since they come from requests, which are
// not always UTF-8: a message that cannot be read would be a way past every limit.
// The package decides nothing.
package rls
