// SPDX-License-Identifier: Apache-2.0

// Package idl turns a Thrift IDL and its routes into what a sidecar needs to answer REST
// with Thrift: a snapshot.Transcoding.
//
// In: the text of IDL files by name, as a ConfigMap has them, the name of the main one, and
// perhaps routes in YAML. Out: the flattened mapping, with the types of mapped methods only,
// or findings, each a sentence with a position; warnings come with the mapping. The same
// text gives the same mapping, byte for byte.
//
// thriftgo parses. It knows no positions, assigns ids that are missing otherwise than
// Apache's compiler does, and recurses as deep as its input; outline.go reads the text
// before it, for positions, and refuses what nests too deep.
//
// It must never read a file, keep state, or let an IDL through that two readers could take
// for two things.
package idl
