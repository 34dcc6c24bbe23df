// SPDX-License-Identifier: Apache-2.0

package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrMalformed: what a store has is no record that this version can read.
var ErrMalformed = errors.New("malformed idempotency record")

// Version of the format, the first byte of each record.
const Version = 1

// HeaderLen is what precedes the payload, in bytes. All numbers are big-endian:
//
//	 0 version      1 state       2 flags       3 zero
//	 4 attempt u32  8 fence u64  16 origin u64
//	24 owner       40 fingerprint              56 credentials, 16 bytes each
//	72 lease, ms u32             76 retention, ms u64
//	84 stamp u64                 92 status u16 94 zero u16
//
// Stores with scripts of their own know these offsets.
const HeaderLen = 96

// MaxPayload bounds what is read; writers have smaller bounds of their own.
const MaxPayload = 16 << 20

// Append appends r to dst as stores keep it.
func (r *Record) Append(dst []byte) []byte {
	var h [HeaderLen]byte
	r.PutHeader(&h)
	dst = append(dst, h[:]...)
	return append(dst, r.Payload...)
}

// PutHeader writes all of r but its payload.
func (r *Record) PutHeader(h *[HeaderLen]byte) {
	h[0], h[1], h[2], h[3] = Version, byte(r.State), byte(r.Flags), 0
	binary.BigEndian.PutUint32(h[4:], r.Attempt)
	binary.BigEndian.PutUint64(h[8:], r.Fence)
	binary.BigEndian.PutUint64(h[16:], r.Origin)
	copy(h[24:], r.Owner[:])
	copy(h[40:], r.Fingerprint[:])
	copy(h[56:], r.Credentials[:])
	binary.BigEndian.PutUint32(h[72:], uint32(min(max(r.Lease.Milliseconds(), 0), math.MaxUint32)))
	binary.BigEndian.PutUint64(h[76:], uint64(max(r.Retention.Milliseconds(), 0)))
	binary.BigEndian.PutUint64(h[84:], r.Stamp)
	binary.BigEndian.PutUint16(h[92:], uint16(r.Status))
	h[94], h[95] = 0, 0
}

// maxMillis is the longest time that a Duration has, in milliseconds.
const maxMillis = uint64(math.MaxInt64 / int64(time.Millisecond))

// Decode reads a record into r. The payload is b's memory.
func (r *Record) Decode(b []byte) error {
	if len(b) < HeaderLen || len(b) > HeaderLen+MaxPayload {
		return fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
	}
	if b[0] != Version {
		return fmt.Errorf("%w: version %d", ErrMalformed, b[0])
	}
	state, retention := State(b[1]), binary.BigEndian.Uint64(b[76:])
	switch state {
	case Inflight, Complete, Tombstone, Unknown, Released:
	default:
		return fmt.Errorf("%w: state %d", ErrMalformed, b[1])
	}
	if retention > maxMillis || b[3]|b[94]|b[95] != 0 {
		return fmt.Errorf("%w: a field is out of its range", ErrMalformed)
	}
	*r = Record{
		State:     state,
		Flags:     Flags(b[2]),
		Attempt:   binary.BigEndian.Uint32(b[4:]),
		Fence:     binary.BigEndian.Uint64(b[8:]),
		Origin:    binary.BigEndian.Uint64(b[16:]),
		Lease:     time.Duration(binary.BigEndian.Uint32(b[72:])) * time.Millisecond,
		Retention: time.Duration(retention) * time.Millisecond,
		Stamp:     binary.BigEndian.Uint64(b[84:]),
		Status:    int(binary.BigEndian.Uint16(b[92:])),
	}
	copy(r.Owner[:], b[24:])
	copy(r.Fingerprint[:], b[40:])
	copy(r.Credentials[:], b[56:])
	if len(b) > HeaderLen {
		r.Payload = b[HeaderLen:len(b):len(b)]
	}
	return nil
}
