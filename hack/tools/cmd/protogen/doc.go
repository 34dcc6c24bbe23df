// SPDX-License-Identifier: Apache-2.0

// Command protogen does for this repository what protoc would: it parses .proto files and runs protoc plugins on them.
//
// protoc is a C++ program that no Go module carries; a parser written in Go does the same work. In come an import root, the
// files relative to it and the plugins' binaries; out go the files the plugins write, beside the sources
// (paths=source_relative). It downloads nothing and writes nowhere else.
//
//	protogen -root api -plugin /path/to/protoc-gen-go [-plugin ...] snapshot/snapshot.proto ...
package main
