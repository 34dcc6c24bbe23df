// SPDX-License-Identifier: Apache-2.0

// Package seal encrypts what is kept of responses, under a key that a user has put
// into a Secret.
//
// In: the Secret's bytes, 16 or more, and those before a rotation. Out: AES-256-GCM
// (NIST SP 800-38D) under a key of each record's own: HKDF-SHA256 (RFC 5869) of the
// Secret and the record's id, so that the number of random nonces under one key stays
// small however many records there are. The id is authenticated too: no payload can be
// put under another's id.
//
// A payload is: version 1; the first 4 bytes of HKDF with "key id", which tells which
// key to try; a nonce of 12 bytes; the ciphertext with its tag of 16. It never holds
// anything of the Secret.
package seal
