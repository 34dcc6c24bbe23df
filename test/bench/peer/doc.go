// SPDX-License-Identifier: Apache-2.0

// Package peer starts the proxies that a benchmark compares, each with the same
// features: a limit for each value of X-Client-Id, fields that tell clients about
// it as far as the proxy can, X-Forwarded-For, connections to the origin kept, and
// metrics that are counted. Each has a port whose limit is never reached and one
// with a limit of Tight requests in Window.
//
// In: an origin, a core, a folder. Out: running peers with their addresses. What a
// peer cannot do is written in its configuration, in the templates beside this file.
package peer
