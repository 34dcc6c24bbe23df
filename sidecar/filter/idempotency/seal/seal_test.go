// SPDX-License-Identifier: Apache-2.0

package seal_test

import (
	"bytes"
	"errors"
	"testing"

	"weir.dev/weir/sidecar/filter/idempotency/ledger"
	"weir.dev/weir/sidecar/filter/idempotency/record"
	"weir.dev/weir/sidecar/filter/idempotency/seal"
)

var _ ledger.Sealer = (*seal.Sealer)(nil)

func sealer(t testing.TB, current, previous string) *seal.Sealer {
	t.Helper()
	s := &seal.Sealer{}
	if err := s.Set([]byte(current), []byte(previous)); err != nil {
		t.Fatal(err)
	}
	return s
}

const one, two, three = "0123456789abcdef", "another secret, a long one: it may have any length", "a third secret..."

func TestSeal(t *testing.T) {
	id, other := record.ID{1}, record.ID{2}
	plain := []byte("a response")
	s := sealer(t, one, "")
	sealed := s.Seal([]byte("+"), id, plain)[1:]
	if bytes.Contains(sealed, plain) || bytes.Equal(sealed, s.Seal(nil, id, plain)) {
		t.Fatalf("not encrypted, or not each time anew: %q", sealed)
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for name, tc := range map[string]struct {
		with   *seal.Sealer
		id     record.ID
		sealed []byte
		ok     bool
	}{
		"the same key":           {s, id, sealed, true},
		"an equal key":           {sealer(t, one, ""), id, sealed, true},
		"after a rotation":       {sealer(t, two, one), id, sealed, true},
		"after two":              {sealer(t, three, two), id, sealed, false},
		"another id":             {s, other, sealed, false},
		"changed":                {s, id, changed, false},
		"cut":                    {s, id, sealed[:len(sealed)-1], false},
		"too short":              {s, id, sealed[:10], false},
		"another version":        {s, id, append([]byte{2}, sealed[1:]...), false},
		"empty":                  {s, id, nil, false},
		"no key":                 {&seal.Sealer{}, id, sealed, false},
		"sealed without any key": {s, id, (&seal.Sealer{}).Seal(nil, id, plain), false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tc.with.Open([]byte("+"), tc.id, tc.sealed)
			switch {
			case tc.ok && (err != nil || string(got) != "+"+string(plain)):
				t.Errorf("got %q, %v", got, err)
			case !tc.ok && (!errors.Is(err, seal.ErrSealed) || string(got) != "+"):
				t.Errorf("opened: %q, %v", got, err)
			}
		})
	}
}

func TestSet(t *testing.T) {
	s := &seal.Sealer{}
	if s.Ready() {
		t.Error("the zero Sealer is ready")
	}
	for name, secrets := range map[string][2]string{"none": {}, "short": {one[1:]}, "short previous": {one, "x"}} {
		if err := s.Set([]byte(secrets[0]), []byte(secrets[1])); err == nil || s.Ready() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Set([]byte(one), nil); err != nil || !s.Ready() {
		t.Error(err)
	}
}

// FuzzOpen: what nobody has sealed does not open.
func FuzzOpen(f *testing.F) {
	s := sealer(f, one, two)
	f.Add(s.Seal(nil, record.ID{1}, []byte("x")), true)
	f.Add([]byte{1, 0, 0, 0, 0}, false)
	f.Fuzz(func(t *testing.T, b []byte, first bool) {
		id := record.ID{2}
		if first {
			id = record.ID{3}
		}
		if out, err := s.Open(nil, id, b); err == nil {
			t.Fatalf("%q opened: %q", b, out)
		}
	})
}
