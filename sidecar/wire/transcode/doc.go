// SPDX-License-Identifier: Apache-2.0

// Package transcode turns HTTP requests into Thrift calls and their replies into HTTP
// responses.
//
// In: the flattened IDL of a snapshot, once; then the parameters, query, header and JSON
// body of a request, or the bytes of a reply. Out: a call in binary or compact protocol,
// without a transport's frame; a status, fields and a JSON body; or a Refusal that says in
// one sentence what is wrong and where. docs/thrift.md has the rules of the mapping.
//
// Both directions are one pass over the bytes, guided by tables that Compile makes. Fields
// are written in the order in which they come, which Thrift allows. Nothing is kept between
// calls: a Table is read-only and may be used by any number of goroutines.
//
// It must never allocate by a length or count that a message claims but does not hold, go
// deeper than MaxDepth, write more than Limits allow, or do I/O.
package transcode
