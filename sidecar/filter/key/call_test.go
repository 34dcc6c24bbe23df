// SPDX-License-Identifier: Apache-2.0

package key

import (
	"net/netip"
	"testing"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
)

// infos are those of a call.
type infos map[string][]string

func (h infos) Header(name string) ([]byte, int) {
	if len(h[name]) == 0 {
		return nil, 0
	}
	return []byte(h[name][0]), len(h[name])
}

// field is the only one of some arguments, 1.3.
type field struct {
	value string
	state exchange.FieldState
}

func (f field) Field(path []int16) ([]byte, exchange.FieldState) {
	if len(path) != 2 || path[0] != 1 || path[1] != 3 {
		return nil, exchange.FieldAbsent
	}
	return []byte(f.value), f.state
}

func (field) Digest() ([32]byte, error) { return [32]byte{}, nil }

// A call has its own members, its client's address, and none of HTTP, though its infos
// are called the same.
func TestOfCalls(t *testing.T) {
	thriftField := func(path string) *snapshot.KeyPart {
		return &snapshot.KeyPart{Kind: &snapshot.KeyPart_ThriftField{ThriftField: path}}
	}
	header := &snapshot.KeyPart{Kind: &snapshot.KeyPart_ThriftHeader{ThriftHeader: "x-a"}}
	found := field{"7", exchange.FieldFound}
	for name, test := range map[string]struct {
		part     *snapshot.KeyPart
		args     exchange.Args
		body     string
		infos    infos
		kind     Kind
		want     string
		doubtful bool
	}{
		"a field":                   {thriftField("1.3"), found, "b", nil, ThriftField, "7", false},
		"an absent field":           {thriftField("1.2"), found, "b", nil, 0, "", false},
		"an empty field":            {thriftField("1.3"), field{"", exchange.FieldFound}, "b", nil, 0, "", false},
		"a field twice":             {thriftField("1.3"), field{"7", exchange.FieldInvalid}, "b", nil, 0, "", true},
		"a field that may come":     {thriftField("1.3"), found, "", nil, 0, "", true},
		"a header":                  {header, found, "", infos{"x-a": {"v"}}, ThriftHeader, "v", false},
		"a header twice":            {header, found, "", infos{"x-a": {"v", "w"}}, 0, "", true},
		"no header":                 {header, found, "", nil, 0, "", false},
		"a header of HTTP":          {&snapshot.KeyPart{Kind: &snapshot.KeyPart_Header{Header: "x-a"}}, found, "", infos{"x-a": {"v"}}, 0, "", false},
		"a cookie":                  {&snapshot.KeyPart{Kind: &snapshot.KeyPart_Cookie{Cookie: "c"}}, found, "", infos{"cookie": {"c=v"}}, 0, "", false},
		"a request's field":         {thriftField("1.3"), nil, "b", nil, 0, "", false},
		"a request's header":        {header, nil, "", infos{"x-a": {"v"}}, 0, "", false},
		"the address of the client": {&snapshot.KeyPart{Kind: &snapshot.KeyPart_ClientIp{ClientIp: &snapshot.ClientIP{Ipv6PrefixLength: 64}}}, found, "", nil, ClientIP, "\xc0\x00\x02\x01", false},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Compile(test.part, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			x := &exchange.Exchange{Request: test.infos, Client: netip.MustParseAddr("192.0.2.1")}
			if test.args != nil {
				x.Call = &exchange.Call{Args: test.args}
			}
			if test.body != "" {
				x.Body = []byte(test.body)
			}
			got, doubtful := p.Append([]byte("x"), x, 0, nil)
			check(t, got, test.kind, test.want, doubtful, test.doubtful)
		})
	}
	for _, path := range []string{"", "0", "1.", "-1", "32768", "1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17"} {
		if _, err := Compile(thriftField(path), nil, nil); err == nil {
			t.Errorf("the path %q was taken", path)
		}
	}
}
