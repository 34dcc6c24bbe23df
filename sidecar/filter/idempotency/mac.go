// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"

	"weir.dev/weir/sidecar/nskey"
)

// keyed hashes under one key after the other. As long as the key stays it is hashed only
// once, which is half of what an HMAC of a short text costs, and all of its memory.
type keyed struct {
	key  *[nskey.Size]byte
	hash hash.Hash
	of   [1]byte
	sum  [sha256.Size]byte
}

// mac is 128 bits of HMAC-SHA256: who has no key can neither make up an id nor try out
// what a record is of.
func (h *keyed) mac(k *[nskey.Size]byte, of byte, b []byte) [16]byte {
	if h.key != k {
		// Keys do not change where they are: see nskey.Ring.
		h.key, h.hash = k, hmac.New(sha256.New, k[:])
	} else {
		h.hash.Reset()
	}
	h.of[0] = of
	_, _ = h.hash.Write(h.of[:])
	_, _ = h.hash.Write(b)
	return [16]byte(h.hash.Sum(h.sum[:0]))
}
