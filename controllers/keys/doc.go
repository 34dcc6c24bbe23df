// SPDX-License-Identifier: Apache-2.0

// Package keys is the operator's way to keys: its own root key, from which every
// namespace has its own, and the Secrets of namespaces that policies name.
//
// In: the Secret weir-keys of the operator's namespace, which is made on the first
// start and never overwritten, and by name the Secrets that Get is asked for. Out: a
// namespace's key as stream.Secrets carries it, the content of Secrets that are
// labelled weir.dev/use: "true", and a signal when either has changed. Of a Secret
// without the label only the metadata is read.
//
// Nothing here is cached by the manager, listed or watched: the operator needs to get
// Secrets, and no more. Keys are in memory only, and never in a log or an error.
package keys
