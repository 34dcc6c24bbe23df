// SPDX-License-Identifier: Apache-2.0

// Package sniff says what a connection speaks from its first bytes.
//
// In: what a client has sent so far. Out: a verdict, or that more bytes are needed,
// which is never the case with MaxBytes of them. A verdict does not change as more
// bytes come.
//
// The package is pure: whoever reads the connection decides how long to wait, and
// what to do about it. It must never be used on a single read: TCP may deliver a
// preface in pieces.
//
// No two protocols begin alike. TLS records begin with 0x16, HTTP/1 with the token
// of a method, binary and compact Thrift with 0x80 and 0x82, JSON Thrift with a
// bracket, which is no token's, and frames of Thrift with 0x00, because none may be
// longer than MaxFrame.
package sniff
