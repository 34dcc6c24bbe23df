// SPDX-License-Identifier: Apache-2.0

// Package trace gives requests their place in traces and sends Weir's spans to a
// collector.
//
// In: exchanges, from the observer of a port. Out: the traceparent that the
// application gets (W3C Trace Context), and one SERVER span for each sampled
// request, over OTLP/gRPC.
//
// A request copies what its span needs into a record and puts it into a bounded
// queue; everything else is done by one goroutine, which runs only while there
// are spans. It must never make a request wait, and a span never holds a query, a
// header's value but the user agent, or a credential.
package trace
