// SPDX-License-Identifier: Apache-2.0

//go:build !race

package socket

import (
	"io"
	"testing"
)

func TestSocketDoesNotAllocate(t *testing.T) {
	s, own, other := socketPair(t)
	go func() { _, _ = io.Copy(other, other) }()
	b := make([]byte, 16)
	if n := testing.AllocsPerRun(100, func() {
		s.Attach(own, s.raw)
		if _, err := s.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a write and a read", n)
	}
}
