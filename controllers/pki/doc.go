// SPDX-License-Identifier: Apache-2.0

// Package pki is the operator's own certificate authority.
//
// In: a Secret with the CA, which any replica may make or rotate under optimistic
// concurrency. Out: a serving certificate for webhook and config stream, which
// every replica signs for itself in memory and renews before it ends; and the
// trust bundle, in the webhook's caBundle and in the ConfigMap weir-ca of every
// injected namespace.
//
// A new CA is published in the bundle a day before it signs anything, and an old
// one stays there until it expires, so that whoever verifies knows both. The
// private key of a serving certificate must never leave the process, and the CA's
// never the Secret and the operator's memory.
package pki
