// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"math"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"

	"weir.dev/weir/api/podspec"
)

// interval of ports, both ends included.
type interval struct{ first, last uint16 }

// sparedPorts are Weir's own and exclude as the fewest intervals, in order: the
// kernel refuses overlapping ones.
func sparedPorts(exclude []uint16) []interval {
	spared := make([]bool, math.MaxUint16+1)
	for p := range spared {
		spared[p] = podspec.Reserved(uint16(p))
	}
	for _, p := range exclude {
		spared[p] = true
	}
	var out []interval
	for p := range spared {
		switch {
		case !spared[p]:
		case p > 0 && spared[p-1]:
			out[len(out)-1].last = uint16(p)
		default:
			out = append(out, interval{first: uint16(p), last: uint16(p)})
		}
	}
	return out
}

// elements of an interval set: nf_tables marks the first port after each
// interval, which 65535 doesn't have.
func elements(list []interval) []nftables.SetElement {
	var out []nftables.SetElement
	for _, i := range list {
		out = append(out, nftables.SetElement{Key: binaryutil.BigEndian.PutUint16(i.first)})
		if i.last < math.MaxUint16 {
			out = append(out, nftables.SetElement{Key: binaryutil.BigEndian.PutUint16(i.last + 1), IntervalEnd: true})
		}
	}
	return out
}
