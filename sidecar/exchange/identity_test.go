// SPDX-License-Identifier: Apache-2.0

package exchange_test

import (
	"bytes"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"weir.dev/weir/sidecar/exchange"
)

func identity() *exchange.Identity {
	return &exchange.Identity{TrustedProxies: []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32"),
	}}
}

func lines(values ...string) (b [][]byte) {
	for _, v := range values {
		b = append(b, []byte(v))
	}
	return b
}

func TestClient(t *testing.T) {
	tests := map[string]struct {
		peer           string
		xff, forwarded []string
		want           string
	}{
		"no header":               {"10.1.1.1", nil, nil, "10.1.1.1"},
		"untrusted peer":          {"9.9.9.9", []string{"1.2.3.4"}, []string{"for=1.2.3.4"}, "9.9.9.9"},
		"one hop":                 {"10.1.1.1", []string{"1.2.3.4"}, nil, "1.2.3.4"},
		"spoofed leftmost":        {"10.1.1.1", []string{"6.6.6.6, 1.2.3.4"}, nil, "1.2.3.4"},
		"over trusted hops":       {"10.1.1.1", []string{"6.6.6.6, 1.2.3.4, 10.2.2.2,10.3.3.3"}, nil, "1.2.3.4"},
		"several lines":           {"10.1.1.1", []string{"6.6.6.6", "1.2.3.4", "10.2.2.2"}, nil, "1.2.3.4"},
		"all trusted":             {"10.1.1.1", []string{"10.4.4.4, 10.2.2.2"}, nil, "10.4.4.4"},
		"malformed":               {"10.1.1.1", []string{"1.2.3.4, nonsense"}, nil, "10.1.1.1"},
		"malformed, not reached":  {"10.1.1.1", []string{"nonsense, 1.2.3.4"}, nil, "1.2.3.4"},
		"malformed behind trust":  {"10.1.1.1", []string{"unknown, 10.2.2.2"}, nil, "10.1.1.1"},
		"empty":                   {"10.1.1.1", []string{""}, nil, "10.1.1.1"},
		"empty element":           {"10.1.1.1", []string{"1.2.3.4,"}, nil, "10.1.1.1"},
		"port":                    {"10.1.1.1", []string{"1.2.3.4:80"}, nil, "1.2.3.4"},
		"v6":                      {"2001:db8::1", []string{"2a00::1"}, nil, "2a00::1"},
		"v6 with port":            {"10.1.1.1", []string{"[2a00::1]:80"}, nil, "2a00::1"},
		"v4 in v6":                {"::ffff:10.1.1.1", []string{"::ffff:1.2.3.4"}, nil, "1.2.3.4"},
		"zone":                    {"10.1.1.1", []string{"fe80::1%eth0"}, nil, "10.1.1.1"},
		"bad port":                {"10.1.1.1", []string{"1.2.3.4:x"}, nil, "10.1.1.1"},
		"leading zero":            {"10.1.1.1", []string{"1.2.3.04"}, nil, "10.1.1.1"},
		"forwarded":               {"10.1.1.1", nil, []string{`for=6.6.6.6, for="1.2.3.4:80";proto=https;by=10.0.0.1`}, "1.2.3.4"},
		"forwarded v6":            {"10.1.1.1", nil, []string{`For="[2a00::1]:4711"`}, "2a00::1"},
		"forwarded comma in text": {"10.1.1.1", nil, []string{`for=1.2.3.4;host="a,b"`}, "1.2.3.4"},
		"forwarded obfuscated":    {"10.1.1.1", nil, []string{`for=_hidden`}, "10.1.1.1"},
		"forwarded without for":   {"10.1.1.1", nil, []string{`for=1.2.3.4, proto=https`}, "10.1.1.1"},
		"forwarded twice":         {"10.1.1.1", nil, []string{`for=1.2.3.4;for=1.2.3.5`}, "10.1.1.1"},
		"forwarded malformed":     {"10.1.1.1", nil, []string{`for="1.2.3.4`}, "10.1.1.1"},
		"agreeing":                {"10.1.1.1", []string{"1.2.3.4"}, []string{"for=1.2.3.4"}, "1.2.3.4"},
		"conflicting":             {"10.1.1.1", []string{"1.2.3.4"}, []string{"for=1.2.3.5"}, "10.1.1.1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := identity().Client(netip.MustParseAddr(test.peer), lines(test.xff...), lines(test.forwarded...))
			if got != netip.MustParseAddr(test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
	var none *exchange.Identity
	if got := none.Client(netip.MustParseAddr("10.1.1.1"), lines("1.2.3.4"), nil); got.String() != "10.1.1.1" {
		t.Errorf("without an identity: got %v", got)
	}
}

// TestClientCannotBeSpoofed: whatever a client writes to the left of what trusted
// proxies have appended changes nothing.
func TestClientCannotBeSpoofed(t *testing.T) {
	peer := netip.MustParseAddr("10.1.1.1")
	rapid.Check(t, func(t *rapid.T) {
		spoof := rapid.StringOf(rapid.RuneFrom([]rune("0123456789.,: []\"abcf="))).Draw(t, "spoof")
		got := identity().Client(peer, lines(spoof+",1.2.3.4, 10.9.9.9"), nil)
		if got.String() != "1.2.3.4" {
			t.Errorf("got %v", got)
		}
	})
}

func FuzzClient(f *testing.F) {
	f.Add("1.2.3.4, 10.1.1.1", "for=1.2.3.4")
	f.Add("[::1]:80", `for="[2001:db8::1]:4711";by=x, for=_a`)
	f.Fuzz(func(t *testing.T, xff, forwarded string) {
		peer := netip.MustParseAddr("10.1.1.1")
		a, b := []byte(xff), []byte(forwarded)
		got := identity().Client(peer, [][]byte{a}, [][]byte{b})
		if !got.IsValid() || got.Zone() != "" {
			t.Errorf("got %v", got)
		}
		if string(a) != xff || !bytes.Equal(b, []byte(forwarded)) {
			t.Error("the header was changed")
		}
	})
}

func TestClientDoesNotAllocate(t *testing.T) {
	id, peer := identity(), netip.MustParseAddr("10.1.1.1")
	xff, forwarded := lines("6.6.6.6, 1.2.3.4, 10.2.2.2"), lines("for=6.6.6.6, for=1.2.3.4")
	if n := testing.AllocsPerRun(100, func() { id.Client(peer, xff, forwarded) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
