// SPDX-License-Identifier: Apache-2.0

package delivery_test

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/delivery"
	"weir.dev/weir/sidecar/nskey"
)

var (
	now  = time.Unix(1_800_000_000, 0)
	ours = exchange.Delivery{Operation: "op_01J-x.~", Attempt: 3, Expires: now.Add(time.Minute)}
	one  = bytes.Repeat([]byte{1}, nskey.Size)
	two  = bytes.Repeat([]byte{2}, nskey.Size)
)

func sign(t testing.TB, key []byte, d exchange.Delivery) string {
	t.Helper()
	s, err := delivery.Sign(key, d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestFieldIsAsBefore: the dispatcher that signs and the sidecar that verifies may be
// of two versions.
func TestFieldIsAsBefore(t *testing.T) {
	const want = "v1;op=op_01J-x.~;attempt=3;exp=1800000060;sig=HcE0lBTT-l8ISLScNpzK633PyOktCXN56uJo0wG8mkc"
	if got := sign(t, one, ours); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestVerify(t *testing.T) {
	good := sign(t, one, ours)
	text, sig, _ := strings.Cut(good, ";sig=")
	for name, tc := range map[string]struct {
		field string
		now   time.Time
		ok    bool
	}{
		"valid":                   {good, now, true},
		"in its last second":      {good, ours.Expires.Add(-time.Nanosecond), true},
		"expired":                 {good, ours.Expires, false},
		"another key":             {sign(t, two, ours), now, false},
		"another attempt":         {strings.Replace(good, "attempt=3", "attempt=4", 1), now, false},
		"another operation":       {strings.Replace(good, "op_01J", "op_02J", 1), now, false},
		"expires later":           {strings.Replace(good, "exp=18", "exp=19", 1), now, false},
		"a signature cut":         {good[:len(good)-1], now, false},
		"a signature with more":   {good + "A", now, false},
		"a padded signature":      {good + "=", now, false},
		"a changed last bit":      {good[:len(good)-1] + string(good[len(good)-1]+1), now, false},
		"no signature":            {text, now, false},
		"an empty signature":      {text + ";sig=", now, false},
		"two signatures":          {good + ";sig=" + sig, now, false},
		"white space":             {" " + good, now, false},
		"a parameter more":        {text + ";x=1;sig=" + sig, now, false},
		"empty":                   {"", now, false},
		"long":                    {strings.Repeat("v1;", 1000) + good, now, false},
		"a signature that is NUL": {text + ";sig=" + strings.Repeat("A", 43), now, false},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := delivery.Verify([]byte(tc.field), tc.now, one)
			if tc.ok != (err == nil) {
				t.Fatal(err)
			}
			want := exchange.Delivery{}
			if tc.ok {
				want = ours
			}
			if diff := cmp.Diff(want, d); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSignRefuses(t *testing.T) {
	for name, change := range map[string]func(*exchange.Delivery){
		"no operation":      func(d *exchange.Delivery) { d.Operation = "" },
		"a long operation":  func(d *exchange.Delivery) { d.Operation = strings.Repeat("a", delivery.MaxOperation+1) },
		"a semicolon":       func(d *exchange.Delivery) { d.Operation = "a;attempt=1" },
		"no attempt":        func(d *exchange.Delivery) { d.Attempt = 0 },
		"no end":            func(d *exchange.Delivery) { d.Expires = time.Time{} },
		"an end far beyond": func(d *exchange.Delivery) { d.Expires = time.Unix(math.MaxInt64/2, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			d := ours
			change(&d)
			if s, err := delivery.Sign(one, d); err == nil {
				t.Errorf("signed: %s", s)
			}
		})
	}
	longest := exchange.Delivery{Operation: strings.Repeat("a", delivery.MaxOperation), Attempt: math.MaxUint32, Expires: time.Unix(253402300799, 0)}
	if d, err := delivery.Verify([]byte(sign(t, one, longest)), now, one); err != nil || d != longest {
		t.Errorf("the longest field is not valid: %+v, %v", d, err)
	}
}

type headers [][2]string

func (h headers) Header(name string) (value []byte, count int) {
	for _, f := range h {
		if strings.EqualFold(f[0], name) {
			if count++; count == 1 {
				value = []byte(f[1])
			}
		}
	}
	return value, count
}

func TestFilter(t *testing.T) {
	ring := &nskey.Ring{}
	if err := ring.Set(two, one); err != nil {
		t.Fatal(err)
	}
	keys := func(b []byte) []byte {
		k, err := nskey.Derive(b)
		if err != nil {
			t.Fatal(err)
		}
		return k.Delivery[:]
	}
	current, previous := sign(t, keys(two), ours), sign(t, keys(one), ours)
	for name, tc := range map[string]struct {
		request headers
		keys    *nskey.Ring
		want    string // what the application gets
	}{
		"valid":               {headers{{"Weir-Delivery", current}}, ring, current},
		"by the key before":   {headers{{"weir-delivery", previous}}, ring, previous},
		"not valid":           {headers{{"weir-delivery", sign(t, one, ours)}}, ring, ""},
		"twice":               {headers{{"weir-delivery", current}, {"weir-delivery", current}}, ring, ""},
		"none":                {headers{{"host", "a"}}, ring, ""},
		"no keys, valid once": {headers{{"weir-delivery", current}}, &nskey.Ring{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := delivery.New(tc.keys, func() time.Time { return now })
			x := &exchange.Exchange{Request: tc.request}
			if v := f.Head(x); v != exchange.Continue {
				t.Fatalf("verdict %d", v)
			}
			got, set := "", false
			x.Upstream(func(name string, value []byte) bool { got, set = string(value), name == "weir-delivery"; return true })
			if !set || got != tc.want {
				t.Errorf("the application gets %q, want %q", got, tc.want)
			}
			if (x.Delivery != nil) != (tc.want != "") || x.Delivery != nil && *x.Delivery != ours {
				t.Errorf("delivery %+v", x.Delivery)
			}
		})
	}
}

func TestNoFieldCostsNothing(t *testing.T) {
	f := delivery.New(&nskey.Ring{}, func() time.Time { return now })
	x := &exchange.Exchange{}
	var request exchange.Headers = headers{}
	if n := testing.AllocsPerRun(100, func() {
		x.Reset()
		x.Request = request
		f.Head(x)
		f.End(x, exchange.Replied)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzVerify: only what was signed is valid, and it says what was signed.
func FuzzVerify(f *testing.F) {
	f.Add([]byte(sign(f, one, ours)), "op", uint32(1), int64(1_900_000_000))
	f.Add([]byte("v1;op=a;attempt=1;exp=1;sig="), "a.b", uint32(7), int64(1))
	f.Fuzz(func(t *testing.T, field []byte, op string, attempt uint32, exp int64) {
		if _, err := delivery.Verify(field, now, two); err == nil {
			t.Fatalf("valid: %q", field)
		}
		d := exchange.Delivery{Operation: op, Attempt: attempt, Expires: time.Unix(exp, 0)}
		s, err := delivery.Sign(one, d)
		if err != nil {
			return
		}
		got, err := delivery.Verify([]byte(s), d.Expires.Add(-time.Second), two, one)
		if err != nil || got != d {
			t.Fatalf("%s: %+v, %v", s, got, err)
		}
	})
}
