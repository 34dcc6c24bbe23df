// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/sidecar/filter/limiter"
)

func numbered(i int) (k limiter.Key) {
	binary.BigEndian.PutUint64(k[8:], uint64(i))
	k[0] = byte(i)
	return k
}

func TestDenials(t *testing.T) {
	now := int64(1e12)
	s := New(Options{Now: func() int64 { return now }})
	t.Cleanup(s.Close)
	c := s.Denials("p/l", 1)
	r, err := limiter.NewRule(limiter.FixedWindow, 5, 60, 0)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := limiter.NewRule(limiter.FixedWindow, 6, 60, 0)
	p, _ := limiter.NewPenalty(1, 1, 1)
	denied := limiter.Decision{Retry: 5e6, Reset: 4e6}
	c.Put(numbered(1), &r, nil, limiter.Decision{Allowed: true, Retry: 5e6})
	c.Put(numbered(2), &r, nil, limiter.Decision{Retry: 999})
	if c.Len() != 0 {
		t.Error("what was allowed, or is denied for less than a call takes, is not worth keeping")
	}
	c.Put(numbered(1), &r, nil, denied)
	c.Put(numbered(2), &r, &p, denied)
	now += 3e6
	got, ok := c.Get(numbered(1), &r, nil)
	if diff := cmp.Diff(limiter.Decision{Retry: 2e6, Reset: 1e6}, got); diff != "" || !ok {
		t.Errorf("%v (-want +got)\n%s", ok, diff)
	}
	if _, ok := c.Get(numbered(3), &r, nil); ok {
		t.Error("another key is denied")
	}
	if _, ok := c.Get(numbered(1), &other, nil); ok {
		t.Error("denied under another rule")
	}
	if _, ok := c.Get(numbered(2), &r, nil); ok {
		t.Error("denied without its penalty")
	}
	c.Put(numbered(1), &r, nil, denied)
	c.Put(numbered(2), &r, nil, denied)
	now += 5e6
	if _, ok := c.Get(numbered(1), &r, nil); ok || c.Len() != 1 {
		t.Errorf("denied after its time; %d are kept", c.Len())
	}
	c.Sweep()
	if c.Len() != 0 {
		t.Error("a sweep keeps what is over")
	}
	c.Put(numbered(1), &r, nil, denied)
	if s.Denials("p/l", 1) != c || s.Denials("p/l", 2) == c {
		t.Error("denials belong to a limit and a store")
	}
}

func TestDenialsAreBounded(t *testing.T) {
	now := int64(1e12)
	s := New(Options{Now: func() int64 { return now }})
	t.Cleanup(s.Close)
	c := s.Denials("p/l", nil)
	r, _ := limiter.NewRule(limiter.FixedWindow, 5, 60, 0)
	for i := range 3 * maxDenials {
		c.Put(numbered(i), &r, nil, limiter.Decision{Retry: 5e6})
	}
	if c.Len() != maxDenials {
		t.Errorf("%d are kept, want %d", c.Len(), maxDenials)
	}
	now += 6e6
	for i := range 100 {
		c.Put(numbered(1e6+i), &r, nil, limiter.Decision{Retry: 5e6})
	}
	if _, ok := c.Get(numbered(1e6+99), &r, nil); !ok {
		t.Error("what is over makes no room")
	}
}

// TestBansFindNoRoom: a key without room is never banned for what others did.
func TestBansFindNoRoom(t *testing.T) {
	s := New(Options{MaxKeys: shards, Now: func() int64 { return 1e12 }})
	t.Cleanup(s.Close)
	p, _ := limiter.NewPenalty(2, 60, 60)
	b := s.Bans("p/l")
	for i := range shards {
		b.Strike(numbered(i), &p)
	}
	for range 5 {
		if b.Strike(numbered(1000), &p) != 0 || b.Banned(numbered(1000), &p) != 0 {
			t.Fatal("a key without room is banned")
		}
	}
	if b.Strike(numbered(1), &p) != 60e6 || b.Banned(numbered(1), &p) != 60e6 {
		t.Error("a key with room is not banned")
	}
}
