// SPDX-License-Identifier: Apache-2.0

// Command bench-http measures Weir's HTTP proxy beside Envoy, nginx and HAProxy, all
// with a limit enforced, in one run: the proxies take turns on core 0, wrk and the
// application are on core 1. `make bench-http` runs it.
//
// Everything it starts ends with it, every wait is bounded, and only one runs at a
// time on a machine.
package main
