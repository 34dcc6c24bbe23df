// SPDX-License-Identifier: Apache-2.0

// Package jwks fetches the public keys of the configuration's JWT providers.
//
// In: the providers. Out: for each its keys in one canonical form, and a signal when
// any has changed. Every replica of the operator fetches, because every one compiles; they
// look at the same times, by a clock and the provider's URL, so that a rotation
// reaches all of them within seconds. Acks count by generation: a moment in which two
// replicas know different keys changes no status.
//
// A provider that does not answer keeps the keys it had. Answers are bounded, TLS is
// verified, and a redirect never leads to another host. The package stores nothing.
package jwks
