// SPDX-License-Identifier: Apache-2.0

// Package nskey derives, from the key of a namespace, a key for each purpose, so that
// what leaks or is forged in one place is worth nothing in another.
//
// In: the namespace's key, and the one before it while a rotation lasts. Out: keys by
// purpose, which change without a restart. Nothing of it is ever printed.
package nskey
