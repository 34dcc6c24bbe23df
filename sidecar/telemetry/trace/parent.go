// SPDX-License-Identifier: Apache-2.0

package trace

// Flags of a traceparent. Others are reserved and are not passed on.
const (
	// FlagSampled: the caller may have recorded its span.
	FlagSampled byte = 1
	// FlagRandom: the trace id is random (Trace Context level 2).
	FlagRandom byte = 2
)

// parentLen is the length of version 00.
const parentLen = 55

// Parent is what a traceparent says.
type Parent struct {
	TraceID [16]byte
	SpanID  [8]byte
	Flags   byte
}

// Sampled reports the caller's decision.
func (p *Parent) Sampled() bool { return p.Flags&FlagSampled != 0 }

// Parse reads the value of a traceparent, https://www.w3.org/TR/trace-context/
// §3.2: version 00 is exactly 55 bytes; of a later version the first 55 are read
// as if it were 00, provided that what follows them begins with '-'.
func Parse(b []byte) (p Parent, ok bool) {
	if len(b) < parentLen || b[2] != '-' || b[35] != '-' || b[52] != '-' {
		return Parent{}, false
	}
	var version, flags [1]byte
	if !unhex(version[:], b[0:2]) || !unhex(p.TraceID[:], b[3:35]) || !unhex(p.SpanID[:], b[36:52]) || !unhex(flags[:], b[53:55]) {
		return Parent{}, false
	}
	switch {
	case version[0] == 0xff, version[0] == 0 && len(b) > parentLen, len(b) > parentLen && b[parentLen] != '-':
		return Parent{}, false
	case p.TraceID == [16]byte{}, p.SpanID == [8]byte{}:
		return Parent{}, false
	}
	p.Flags = flags[0] & (FlagSampled | FlagRandom)
	return p, true
}

// unhex reads lower case digits; upper case is not valid in a traceparent.
func unhex(to, from []byte) bool {
	for i := range to {
		hi, lo := digit(from[2*i]), digit(from[2*i+1])
		if hi|lo > 15 {
			return false
		}
		to[i] = hi<<4 | lo
	}
	return true
}

func digit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}
