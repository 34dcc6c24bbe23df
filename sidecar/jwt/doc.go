// SPDX-License-Identifier: Apache-2.0

// Package jwt verifies bearer tokens and reads their claims.
//
// In: a provider of the snapshot with its public keys, once; then values of the
// Authorization field. Out: the value of a claim, only of a token whose signature, issuer, audience and
// times hold (RFC 7515, RFC 7519). Whatever else is wrong with a token makes it no
// token at all: the package never says why to a client.
//
// Signatures are by RS, PS, ES and EdDSA. Which of them a key may verify follows from
// the key's type, never from the token, so that no public key serves as a secret
// and none is never an algorithm. Tokens over MaxToken are not looked at.
// What has been verified is remembered by its SHA-256 until it expires; memory is bounded, and a
// token that finds no room is verified anew each time.
//
// It fetches nothing and logs nothing.
package jwt
