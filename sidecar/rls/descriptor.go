// SPDX-License-Identifier: Apache-2.0

package rls

import (
	"bytes"
	"fmt"
	"net/netip"

	"weir.dev/weir/api/rls"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

// maxEntries of a descriptor.
const maxEntries = 64

// Keys of descriptor entries; what follows a prefix is a name.
const (
	keyMethod  = "method"
	keyPath    = "path"
	keyAddress = "remote_address"
	keyHeader  = "header:"
	keyThrift  = "thrift:"
)

// described is a descriptor as filters see it.
type described struct {
	x     exchange.Exchange
	paths rules.Paths
	// fields are the entries header:<name>, by their names in the descriptor.
	fields []*rls.Entry
}

// Header implements exchange.Headers.
func (d *described) Header(name string) (value []byte, count int) {
	for _, f := range d.fields {
		if rules.EqualFold(f.GetKey()[len(keyHeader):], name) {
			if count == 0 {
				value = rules.Trim(f.GetValue())
			}
			count++
		}
	}
	return value, count
}

// describe fills d. denied says that the request that it describes is one that the
// port refuses; an error, that it says what cannot be done.
func (d *described) describe(desc *rls.Descriptor, hits uint64, port *exchange.Port) (denial exchange.Denial, denied bool, err error) {
	if err := check(desc); err != nil {
		return denial, false, err
	}
	d.x.Port, d.x.Request = port.Number, d
	d.x.Hits = hits
	if n := desc.GetHitsAddend(); n != nil {
		d.x.Hits = n.GetValue()
	}
	seen := [3]bool{}
	once := func(i int, key []byte) error {
		if seen[i] {
			return fmt.Errorf("entry %q comes twice", key)
		}
		seen[i] = true
		return nil
	}
	for _, e := range desc.GetEntries() {
		switch key := e.GetKey(); {
		case string(key) == keyMethod:
			d.x.Method, err = e.GetValue(), once(0, key)
		case string(key) == keyPath:
			d.x.RawPath, d.x.Query, _ = bytes.Cut(e.GetValue(), []byte("?"))
			err = once(1, key)
		case string(key) == keyAddress:
			if err = once(2, key); err == nil {
				d.x.Client, err = address(e.GetValue())
				d.x.Peer = d.x.Client
			}
		case bytes.HasPrefix(key, []byte(keyHeader)) && len(key) > len(keyHeader):
			d.fields = append(d.fields, e)
		case bytes.HasPrefix(key, []byte(keyThrift)):
			err = fmt.Errorf("entry %q: Thrift is not supported by this version of Weir", bounded(key))
		default:
			err = fmt.Errorf("entry %q is not known; use %s, %s, %s<name> and %s", bounded(key), keyMethod, keyPath, keyHeader, keyAddress)
		}
		if err != nil {
			return denial, false, err
		}
	}
	if !seen[1] {
		return denial, false, nil
	}
	denial, ok := d.paths.Fill(&d.x, port)
	return denial, !ok, nil
}

func check(desc *rls.Descriptor) error {
	switch n := desc.GetHitsAddend(); {
	case len(desc.GetEntries()) > maxEntries:
		return fmt.Errorf("it has %d entries, at most %d are possible", len(desc.GetEntries()), maxEntries)
	case desc.GetLimit() != nil:
		return fmt.Errorf("it brings a limit of its own; limits are those of the RateLimitPolicy, which has overrides by key")
	case desc.GetIsNegativeHits():
		return fmt.Errorf("is_negative_hits is set; Weir takes nothing back")
	case n != nil && n.GetValue() == 0:
		return fmt.Errorf("hits_addend is 0; Weir does not look at a limit without spending")
	}
	return nil
}

func address(b []byte) (netip.Addr, error) {
	a, err := netip.ParseAddr(string(bounded(b)))
	if err != nil {
		return a, fmt.Errorf("entry %s is no address: %q", keyAddress, bounded(b))
	}
	return a.Unmap(), nil
}

// bounded is as much of b as fits an error.
func bounded(b []byte) []byte { return b[:min(len(b), 64)] }
