// SPDX-License-Identifier: Apache-2.0

// Package exchange is the neutral view of one request and its response that
// filters see, the same for HTTP and Thrift.
//
// A codec in sidecar/wire fills an Exchange with slices of its own read buffer,
// runs the port's filters over it and reports what became of it. Filters read
// attributes, keep their own state in a numbered slot, add response fields and,
// when they answer themselves, set a Denial that the codec renders in the
// client's protocol.
//
// In: bytes owned by the codec, valid until End returns. Out: verdicts, a
// Denial, response fields. An Exchange is pooled and reused, so nothing may keep
// it or a slice of it after End. The package holds no protocol code, does no
// I/O, and never allocates on the path of a request that is let through.
package exchange
