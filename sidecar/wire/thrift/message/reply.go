// SPDX-License-Identifier: Apache-2.0

package message

import (
	"encoding/binary"
	"strconv"
	"unicode/utf8"
)

// Codes of TApplicationException (apache/thrift, all libraries but fbthrift's).
const (
	UnknownMethod    = 1
	InternalError    = 6
	ProtocolError    = 7
	InvalidTransform = 8
)

// AppendException appends a whole reply with a TApplicationException:
// struct {1: string message, 2: i32 type}.
func AppendException(dst []byte, p Protocol, name []byte, seq int32, code int32, message []byte) []byte {
	dst = AppendHead(dst, p, Exception, name, seq)
	switch p {
	case JSON:
		dst = append(dst, `{"1":{"str":`...)
		dst = appendQuoted(dst, message)
		dst = append(dst, `},"2":{"i32":`...)
		dst = strconv.AppendInt(dst, int64(code), 10)
		dst = append(dst, `}}`...)
	case Compact:
		dst = append(dst, 0x18)
		dst = appendText(dst, p, message)
		dst = append(dst, 0x15)
		dst = binary.AppendUvarint(dst, uint64(uint32(code<<1)^uint32(code>>31)))
		dst = append(dst, 0)
	default:
		dst = append(dst, byte(text), 0, 1)
		dst = appendText(dst, p, message)
		dst = append(dst, byte(i32), 0, 2)
		dst = binary.BigEndian.AppendUint32(dst, uint32(code))
		dst = append(dst, 0)
	}
	return AppendEnd(dst, p)
}

// AppendDeclared appends a whole reply of type Reply whose result has one field, with
// this id: struct {1: string message}. That is an exception that the method declares
// with `throws (<field>: E e)` and the IDL with `exception E {1: string message}`;
// other fields of E stay unset, so none of them may be required.
func AppendDeclared(dst []byte, p Protocol, name []byte, seq int32, field int16, message []byte) []byte {
	dst = AppendHead(dst, p, Reply, name, seq)
	switch p {
	case JSON:
		dst = append(dst, `{"`...)
		dst = strconv.AppendInt(dst, int64(field), 10)
		dst = append(dst, `":{"rec":{"1":{"str":`...)
		dst = appendQuoted(dst, message)
		dst = append(dst, `}}}}`...)
	case Compact:
		if field > 0 && field < 16 {
			dst = append(dst, byte(field)<<4|12)
		} else {
			dst = append(dst, 12)
			dst = binary.AppendUvarint(dst, uint64(uint16(field<<1)^uint16(field>>15)))
		}
		dst = append(dst, 0x18)
		dst = appendText(dst, p, message)
		dst = append(dst, 0, 0)
	default:
		dst = append(dst, byte(structure))
		dst = binary.BigEndian.AppendUint16(dst, uint16(field))
		dst = append(dst, byte(text), 0, 1)
		dst = appendText(dst, p, message)
		dst = append(dst, 0, 0)
	}
	return AppendEnd(dst, p)
}

func appendText(dst []byte, p Protocol, s []byte) []byte {
	if p == Compact {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
	} else {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
	}
	return append(dst, s...)
}

// appendQuoted appends s as a string of JSON.
func appendQuoted(dst []byte, s []byte) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range string(s) {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < ' ' || r == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', digits[r>>4], digits[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

// AppendReply appends a whole reply to a call of this name and seq, with a struct that
// was kept of another reply in the same protocol.
func AppendReply(dst []byte, p Protocol, t Type, name []byte, seq int32, result []byte) []byte {
	dst = AppendHead(dst, p, t, name, seq)
	dst = append(dst, result...)
	return AppendEnd(dst, p)
}

// AppendReseq appends message, which is whole, with another seq: it may be longer or
// shorter than it was.
func AppendReseq(dst []byte, p Protocol, message []byte, seq int32) ([]byte, error) {
	h, err := ParseHead(p, message)
	if err != nil {
		return dst, err
	}
	dst = AppendHead(dst, p, h.Type, h.Name, seq)
	return append(dst, message[h.Struct:]...), nil
}

// Result is what a reply says.
type Result struct {
	Type Type
	// Field is the one that is set in the result: 0 is success, more is an exception
	// that the method declares. -1: none, the success of a void method. Of a Reply
	// only.
	Field int16
	// Code of a TApplicationException; 0 where it has none, or has not come yet.
	Code int32
}

// ResultOf looks at a reply's struct, of which at least 4 bytes have come, or all: in
// JSON 12.
func ResultOf(h *Head, b []byte) (Result, error) {
	r := Result{Type: h.Type}
	switch h.Type {
	case Exception:
		v, found, _, err := Find(h.Protocol, b, []int16{2})
		if err != nil {
			return r, err
		}
		if found && v.kind == i32 {
			r.Code = int32(v.number)
		}
		return r, nil
	case Reply:
	default:
		return r, Malformed("a call where a reply should be")
	}
	w := walker{p: h.Protocol, b: b}
	if h.Protocol == JSON {
		if err := w.expect(`{`); err != nil {
			return r, err
		}
		if w.peek() == '}' {
			r.Field = -1
			return r, nil
		}
		id, _, err := w.headJSON()
		r.Field = id
		return r, err
	}
	k, id, _, err := w.head(0)
	if r.Field = id; k == stop {
		r.Field = -1
	}
	return r, err
}
