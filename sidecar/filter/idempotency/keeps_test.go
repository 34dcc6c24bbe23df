// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"strings"
	"testing"
)

func TestKeeps(t *testing.T) {
	f := &Filter{denied: []string{"x-" + strings.Repeat("secret-", 10)}}
	for name := range never {
		for _, n := range []string{name, strings.ToUpper(name)} {
			if f.keeps([]byte(n)) {
				t.Errorf("%s is kept", n)
			}
		}
		if !f.keeps([]byte(name + "x")) {
			t.Errorf("%sx is not kept", name)
		}
	}
	for name, want := range map[string]bool{strings.ToUpper(f.denied[0]): false, f.denied[0] + "x": true, "Location": true, "": true} {
		if got := f.keeps([]byte(name)); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
