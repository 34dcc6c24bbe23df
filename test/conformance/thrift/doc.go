// SPDX-License-Identifier: Apache-2.0

// Thrift runs Apache Thrift's cross-test, each client against each server, directly and
// through Weir, and compares: what passes and fails must be the same.
// hack/conformance/thrift.sh makes the peers, from Apache's own sources, and runs it.
//
//	thrift --peers FOLDER --weir PROGRAM [--full] [--only python,go]
//
// Each cell, which is a client, a server, a protocol and a transport, runs four times:
// directly; through a port of Weir without a policy; through one with a limit; and
// through one with a limit by a field of the arguments, which is never reached. That the
// limits have counted is checked at the end of each server.
//
// In: programs that serve and call. Out: a table, and the exit code 1 where a cell
// differs, or fails directly without being known to. It listens on loopback only, and
// ends what it has started.
package main
