// SPDX-License-Identifier: Apache-2.0

// Package message is the codec of Thrift messages: what it takes to let them pass, to
// know what they ask and to answer them, without an IDL and without decoding them.
//
// In: bytes of a connection. Out: the envelope of a transport (framed, THeader with
// zlib, TTHeader) and what it says, the head of a message (binary with and without
// version, compact, JSON), where a message ends, single fields by their ids, a
// fingerprint of the arguments, what a reply means; and the bytes of replies.
//
// Wire formats: thrift-binary-protocol.md, thrift-compact-protocol.md, HeaderFormat.md
// of apache/thrift, and Kitex's TTHeader. The corpora under testdata were written by
// Apache's own libraries in Go, Python, Java and Node (hack/thriftcorpus).
//
// A message is whole when its struct is: Scanner walks over it as bytes come, with a
// stack of its own. That is done within frames too, where the length would tell the
// end: servers read what follows a message in its frame as the next one, so a frame
// may not hold two, of which only the first was seen.
//
// The package is pure: no I/O, no clock. It must never allocate for what a length in a
// message promises, never recurse deeper than MaxDepth, and never panic, whatever the
// bytes. Slices that it returns are of the bytes that it was given.
package message
