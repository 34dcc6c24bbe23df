// SPDX-License-Identifier: Apache-2.0

package message

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
)

// Type is the type of a message.
type Type uint8

// The types.
const (
	Call Type = iota + 1
	Reply
	// Exception is a reply with a TApplicationException.
	Exception
	// Oneway is a call that is not answered. Before Thrift 0.9.3 such calls were sent
	// as Call.
	Oneway
)

// Head is what stands before the struct of a message.
type Head struct {
	Protocol Protocol
	Type     Type
	// Name of the method, behind "service:" where several are multiplexed.
	Name []byte
	Seq  int32
	// Struct is where the struct begins: the arguments, or the result.
	Struct int
}

// Split is the name without and with what stands before its first colon.
func (h *Head) Split() (service, method []byte) {
	if service, method, ok := bytes.Cut(h.Name, []byte(":")); ok {
		return service, method
	}
	return nil, h.Name
}

// ParseHead reads the head at the beginning of b.
func ParseHead(p Protocol, b []byte) (Head, error) {
	h := Head{Protocol: p}
	var err error
	switch p {
	case Binary:
		err = h.binary(b)
	case BinaryLax:
		err = h.lax(b)
	case Compact:
		err = h.compact(b)
	case JSON:
		err = h.json(b)
	default:
		err = Unsupported("its protocol")
	}
	if err == nil && (h.Type < Call || h.Type > Oneway) {
		err = Malformed("no type of a message")
	}
	return h, err
}

func (h *Head) binary(b []byte) error {
	if len(b) < 2 {
		return ErrShort
	}
	if b[0] != 0x80 || b[1] != 0x01 {
		return Malformed("not version 1 of the binary protocol")
	}
	if len(b) < 4 {
		return ErrShort
	}
	h.Type = Type(b[3])
	at, err := h.name(b, 4)
	if err != nil {
		return err
	}
	return h.seq(b, at)
}

func (h *Head) lax(b []byte) error {
	at, err := h.name(b, 0)
	if err != nil {
		return err
	}
	if len(b) <= at {
		return ErrShort
	}
	h.Type = Type(b[at])
	return h.seq(b, at+1)
}

// name reads the length of a name at at, and the name.
func (h *Head) name(b []byte, at int) (next int, err error) {
	if len(b) < at+4 {
		return 0, ErrShort
	}
	return h.take(b, at+4, uint64(binary.BigEndian.Uint32(b[at:])))
}

// take takes n bytes at at for the name.
func (h *Head) take(b []byte, at int, n uint64) (next int, err error) {
	if n == 0 || n > MaxName {
		return 0, Malformed("the length of its name")
	}
	end := at + int(n)
	if len(b) < end {
		return 0, ErrShort
	}
	h.Name = b[at:end:end]
	for _, c := range h.Name {
		if c <= ' ' || c == 0x7f {
			return 0, Malformed("a control character in its name")
		}
	}
	return end, nil
}

func (h *Head) seq(b []byte, at int) error {
	if len(b) < at+4 {
		return ErrShort
	}
	h.Seq = int32(binary.BigEndian.Uint32(b[at:]))
	h.Struct = at + 4
	return nil
}

func (h *Head) compact(b []byte) error {
	if len(b) < 2 {
		return ErrShort
	}
	if b[0] != 0x82 || b[1]&0x1f != 1 {
		return Malformed("not version 1 of the compact protocol")
	}
	h.Type = Type(b[1] >> 5)
	seq, n, err := uvarint32(b[2:])
	if err != nil {
		return err
	}
	at := 2 + n
	size, n, err := uvarint32(b[at:])
	if err != nil {
		return err
	}
	h.Seq = int32(seq)
	h.Struct, err = h.take(b, at+n, uint64(size))
	return err
}

// json reads `[1,"name",type,seqid,`, which Apache's libraries write without white
// space and most of them read only so.
func (h *Head) json(b []byte) error {
	const begin = `[1,"`
	if !bytes.HasPrefix(b, []byte(begin)) {
		if bytes.HasPrefix([]byte(begin), b) {
			return ErrShort
		}
		return Malformed("not version 1 of the JSON protocol")
	}
	at := len(begin)
	end := bytes.IndexByte(b[at:min(len(b), at+MaxName+1)], '"')
	if end < 0 {
		if len(b) > at+MaxName {
			return Malformed("the length of its name")
		}
		return ErrShort
	}
	at, err := h.take(b, at, uint64(end))
	if err != nil {
		return err
	}
	if bytes.IndexByte(h.Name, '\\') >= 0 {
		return Malformed("an escaped character in its name")
	}
	if at++; len(b) <= at {
		return ErrShort
	}
	if b[at] != ',' {
		return Malformed("what follows its name")
	}
	kind, at, err := number(b, at+1)
	if err != nil {
		return err
	}
	if kind < 0 || kind > math.MaxUint8 {
		return Malformed("no type of a message")
	}
	seq, at, err := number(b, at)
	if err != nil {
		return err
	}
	h.Type, h.Seq, h.Struct = Type(kind), seq, at
	return nil
}

// number reads an integer and the comma after it.
func number(b []byte, at int) (v int32, next int, err error) {
	const longest = len("-2147483648")
	end := bytes.IndexByte(b[at:min(len(b), at+longest+1)], ',')
	if end < 0 {
		if len(b) > at+longest {
			return 0, 0, Malformed("no number where one should be")
		}
		return 0, 0, ErrShort
	}
	n, err := strconv.ParseInt(string(b[at:at+end]), 10, 32)
	if err != nil || b[at] == '+' {
		return 0, 0, Malformed("no number where one should be")
	}
	return int32(n), at + end + 1, nil
}

// AppendHead appends a head. What ends the message after the struct is AppendEnd's.
func AppendHead(dst []byte, p Protocol, t Type, name []byte, seq int32) []byte {
	switch p {
	case BinaryLax:
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(name)))
		dst = append(dst, name...)
		dst = append(dst, byte(t))
		return binary.BigEndian.AppendUint32(dst, uint32(seq))
	case Compact:
		dst = append(dst, 0x82, byte(t)<<5|1)
		dst = binary.AppendUvarint(dst, uint64(uint32(seq)))
		dst = binary.AppendUvarint(dst, uint64(len(name)))
		return append(dst, name...)
	case JSON:
		dst = append(dst, `[1,"`...)
		dst = append(dst, name...)
		dst = append(dst, '"', ',')
		dst = strconv.AppendUint(dst, uint64(t), 10)
		dst = append(dst, ',')
		dst = strconv.AppendInt(dst, int64(seq), 10)
		return append(dst, ',')
	}
	dst = append(dst, 0x80, 0x01, 0, byte(t))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(name)))
	dst = append(dst, name...)
	return binary.BigEndian.AppendUint32(dst, uint32(seq))
}

// AppendEnd appends what ends a message after its struct.
func AppendEnd(dst []byte, p Protocol) []byte {
	if p == JSON {
		return append(dst, ']')
	}
	return dst
}

// uvarint32 reads a varint of at most 32 bits and 5 bytes.
func uvarint32(b []byte) (v uint32, n int, err error) {
	for n < len(b) {
		c := b[n]
		if n == 4 && c > 0x0f {
			return 0, 0, Malformed("a varint of more than 32 bits")
		}
		v |= uint32(c&0x7f) << (7 * n)
		n++
		if c < 0x80 {
			return v, n, nil
		}
	}
	return 0, 0, ErrShort
}

// uvarint64 reads a varint of at most 64 bits and 10 bytes.
func uvarint64(b []byte) (v uint64, n int, err error) {
	for n < len(b) {
		c := b[n]
		if n == 9 && c > 1 {
			return 0, 0, Malformed("a varint of more than 64 bits")
		}
		v |= uint64(c&0x7f) << (7 * n)
		n++
		if c < 0x80 {
			return v, n, nil
		}
	}
	return 0, 0, ErrShort
}

func zigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }
