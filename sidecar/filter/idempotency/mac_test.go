// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"crypto/hmac"
	"crypto/sha256"
	"testing"

	"pgregory.net/rapid"

	"weir.dev/weir/sidecar/nskey"
)

// TestMac: what was hashed before, and under which key, makes no difference.
func TestMac(t *testing.T) {
	all := [][nskey.Size]byte{{1}, {2}, {31: 3}}
	rapid.Check(t, func(t *rapid.T) {
		var h keyed
		for range 10 {
			k := &all[rapid.IntRange(0, len(all)-1).Draw(t, "key")]
			of := rapid.Byte().Draw(t, "of")
			b := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "text")
			want := hmac.New(sha256.New, k[:])
			want.Write(append([]byte{of}, b...))
			if got := h.mac(k, of, b); got != [16]byte(want.Sum(nil)) {
				t.Fatalf("%x", got)
			}
		}
	})
}

func TestMacAllocates(t *testing.T) {
	var h keyed
	k, b := &[nskey.Size]byte{1}, []byte("text")
	h.mac(k, 'I', b)
	h.mac(k, 'I', b)
	if n := testing.AllocsPerRun(100, func() { h.mac(k, 'I', b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
