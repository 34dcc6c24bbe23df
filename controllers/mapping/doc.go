// SPDX-License-Identifier: Apache-2.0

// Package mapping keeps the mappings from REST to Thrift that Services name by
// weir.dev/thrift-idl.
//
// In: ConfigMaps, each read by its name when it is asked for and again every so often. Out:
// the last mapping of it that was valid, and what is wrong with the one that is there. It
// is kept in memory: where the operator starts and the IDL is bad, there is none, and the
// port answers 503 until it is put right.
//
// It must never read a ConfigMap that no Service names, nor give up a valid mapping for
// one that is not.
package mapping
