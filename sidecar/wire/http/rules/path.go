// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"bytes"
	"net/http"

	"weir.dev/weir/sidecar/exchange"
)

// Paths is the memory of one exchange's paths, to be used again.
type Paths struct {
	// path is made ready for matching, dotted with its dot segments, where it has
	// any, bare without path parameters, open with encoded slashes as slashes;
	// dropped and opened are what those two are made of.
	path, dotted, bare, dropped, open, opened []byte
}

// Fill fills the paths of x from RawPath, and refuses, where the port has filters,
// what servers read differently: filters would match another route than the
// application takes. x's paths are valid until the next Fill.
func (p *Paths) Fill(x *exchange.Exchange, port *exchange.Port) (exchange.Denial, bool) {
	if string(x.RawPath) == "*" {
		x.Path = x.RawPath
		return exchange.Denial{}, true
	}
	var flags exchange.PathFlags
	p.path, flags = exchange.NormalizePath(p.path[:0], x.RawPath)
	x.Path = p.path
	if !port.Governed() {
		return exchange.Denial{}, true
	}
	if flags&exchange.InvalidPath != 0 || bytes.IndexByte(x.Query, '#') >= 0 {
		return Malformed("The path has a broken percent escape, a '#', or bytes that are not UTF-8."), false
	}
	if flags&exchange.EncodedDots != 0 {
		return Malformed("The path has a dot segment with an escaped dot (%2e), which servers read differently."), false
	}
	if flags&exchange.DotSegments != 0 {
		p.dotted = exchange.KeepDots(p.dotted[:0], x.RawPath)
		x.DottedPath = p.dotted
	}
	if bytes.IndexByte(x.RawPath, ';') >= 0 {
		p.dropped = exchange.DropParams(p.dropped[:0], x.RawPath)
		p.bare, _ = exchange.NormalizePath(p.bare[:0], p.dropped)
		x.BarePath = p.bare
	}
	if flags&exchange.EncodedSlash != 0 && port.PassEncodedSlashes {
		p.opened = exchange.OpenSlashes(p.opened[:0], x.RawPath)
		p.open, _ = exchange.NormalizePath(p.open[:0], p.opened)
		x.OpenPath = p.open
	} else if flags&exchange.EncodedSlash != 0 {
		return Problem(http.StatusBadRequest, ProblemEncodedSlash, "Encoded Slash",
			"The path has %2F, %5C, %00 or a backslash, which servers read differently; the annotation weir.dev/encoded-slashes: pass lets them through."), false
	}
	return exchange.Denial{}, true
}
