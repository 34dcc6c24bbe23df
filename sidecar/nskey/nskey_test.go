// SPDX-License-Identifier: Apache-2.0

package nskey_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"weir.dev/weir/sidecar/nskey"
)

// TestKeysAreAsBefore: who changes a derivation cuts every namespace off its records.
func TestKeysAreAsBefore(t *testing.T) {
	k, err := nskey.Derive(bytes.Repeat([]byte{1}, nskey.Size))
	if err != nil {
		t.Fatal(err)
	}
	// printf weir/records | openssl dgst -sha256 -mac HMAC -macopt hexkey:0101...
	for want, got := range map[string][nskey.Size]byte{
		"ec7679e1d9c934f583df16ddbeb8419748093942f263214cb638d74ac22c817f": k.Records, "af405329a94aeba5177af4cce97ff016d427bab5589d2a7b04bc8ae13dc93aec": k.Credentials, "d9f5929734dbbdb9ee79aaf539d7ea46b7b5960bcd45f64a909aa7ea5fab91d8": k.Delivery,
	} {
		if hex.EncodeToString(got[:]) != want {
			t.Errorf("got %x, want %s", got, want)
		}
	}
	if s := fmt.Sprintf("%v %+v %#v %s", k, k, k, k); strings.ReplaceAll(s, "REDACTED", "") != "   " {
		t.Errorf("keys are printed: %s", s)
	}
}

func TestRing(t *testing.T) {
	var r nskey.Ring
	if r.Load() != nil {
		t.Fatal("the zero Ring has keys")
	}
	one, two := bytes.Repeat([]byte{1}, nskey.Size), bytes.Repeat([]byte{2}, nskey.Size)
	if err := r.Set(one, nil); err != nil || r.Load().Previous != nil {
		t.Fatal(err, r.Load().Previous)
	}
	before := r.Load()
	for name, set := range map[string][2][]byte{"short": {one[1:], nil}, "none": {nil, one}, "short previous": {two, one[1:]}} {
		if err := r.Set(set[0], set[1]); err == nil || r.Load() != before {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.Set(two, one); err != nil || *r.Load().Previous != *before.Current || *r.Load().Current == *before.Current {
		t.Errorf("after a rotation: %v", err)
	}
}
