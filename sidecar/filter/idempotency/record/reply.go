// SPDX-License-Identifier: Apache-2.0

package record

import (
	"encoding/binary"
	"fmt"

	"weir.dev/weir/sidecar/exchange"
)

// AppendReply appends a response to dst as it is the payload of a record: its status
// u16; the fields of its head, then of its trailer section, each section their number
// and for each the lengths of name and value, as uvarints, with the bytes; then the
// body, to the end.
func AppendReply(dst []byte, r *exchange.Reply) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(r.Status))
	dst = appendFields(dst, r.Header)
	dst = appendFields(dst, r.Trailer)
	return append(dst, r.Body...)
}

// ReplyLen is the most that AppendReply appends.
func ReplyLen(r *exchange.Reply) int {
	n := 2 + 2*binary.MaxVarintLen32 + len(r.Body)
	for _, section := range [2][]exchange.Field{r.Header, r.Trailer} {
		for _, f := range section {
			n += 2*binary.MaxVarintLen32 + len(f.Name) + len(f.Value)
		}
	}
	return n
}

func appendFields(dst []byte, fields []exchange.Field) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(fields)))
	for _, f := range fields {
		dst = binary.AppendUvarint(dst, uint64(len(f.Name)))
		dst = binary.AppendUvarint(dst, uint64(len(f.Value)))
		dst = append(dst, f.Name...)
		dst = append(dst, f.Value...)
	}
	return dst
}

// DecodeReply reads what AppendReply has written. The reply is b's memory.
func DecodeReply(b []byte) (*exchange.Reply, error) {
	if len(b) < 2 {
		return nil, fmt.Errorf("%w: no status", ErrMalformed)
	}
	r := &exchange.Reply{Status: int(binary.BigEndian.Uint16(b))}
	b = b[2:]
	var err error
	if r.Header, b, err = fields(b); err != nil {
		return nil, err
	}
	if r.Trailer, b, err = fields(b); err != nil {
		return nil, err
	}
	r.Body = b[:len(b):len(b)]
	return r, nil
}

func fields(b []byte) (out []exchange.Field, rest []byte, err error) {
	n, b, err := length(b)
	// Each has two lengths.
	if err != nil || n > len(b)/2 {
		return nil, nil, fmt.Errorf("%w: fields", ErrMalformed)
	}
	if n > 0 {
		out = make([]exchange.Field, n)
	}
	for i := range out {
		var name, value int
		if name, b, err = length(b); err == nil {
			value, b, err = length(b)
		}
		if err != nil || name > len(b) || value > len(b)-name {
			return nil, nil, fmt.Errorf("%w: field %d", ErrMalformed, i)
		}
		out[i] = exchange.Field{Name: b[:name:name], Value: b[name : name+value : name+value]}
		b = b[name+value:]
	}
	return out, b, nil
}

// length reads a number that cannot be more than b is long.
func length(b []byte) (int, []byte, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v > uint64(len(b)) {
		return 0, nil, ErrMalformed
	}
	return int(v), b[n:], nil
}
