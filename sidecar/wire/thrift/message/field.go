// SPDX-License-Identifier: Apache-2.0

package message

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"unicode/utf8"
)

// Value is a field of a struct: text, a number, a boolean or a UUID.
type Value struct {
	kind kind
	// raw is the text; in JSON, as it is spelt there; or the 16 bytes of a UUID.
	raw []byte
	// number is an integer's or a boolean's.
	number  int64
	escaped bool
}

// Find looks for the field that path leads to, by ids, in a struct at the beginning of
// b. It reads b to the end of the struct, or as far as it goes: whole says which. A
// field that is not there, or is a struct, a container or a double, is not found; one
// that comes twice, which readers take one or the other of, is Malformed. Nothing is
// copied.
func Find(p Protocol, b []byte, path []int16) (v Value, found, whole bool, err error) {
	if len(path) == 0 || len(path) >= MaxDepth {
		return v, false, true, nil
	}
	w := walker{p: p, b: b}
	for depth := 1; ; depth++ {
		v, found, err = w.member(path[0], len(path) == 1, depth)
		if err == ErrShort { //nolint:errorlint // it is never wrapped here
			w.short, err = true, nil
		}
		if err != nil || !found || len(path) == 1 {
			return v, found && err == nil, !w.short, err
		}
		w.b, w.at, path = v.raw, 0, path[1:]
	}
}

// walker reads a struct of which all that matters is in memory.
type walker struct {
	p  Protocol
	b  []byte
	at int
	// short: a struct goes on behind what there is.
	short bool
	skip  Scanner
}

// member looks for a field in the struct that begins at w.at and lies at depth. Unless
// it is the last of a path, it is a struct, and raw is of it what there is.
func (w *walker) member(id int16, last bool, depth int) (v Value, found bool, err error) {
	if w.p == JSON {
		return w.memberJSON(id, last)
	}
	prior := int16(0)
	for {
		k, field, on, err := w.head(prior)
		if err != nil || k == stop {
			return v, found, err
		}
		prior = field
		if field == id && found {
			return v, false, Malformed("a field comes twice")
		}
		from := w.at
		if k != boolean || w.p != Compact {
			err = w.pass(k, depth)
		}
		if field == id && (err == nil || err == ErrShort && !last) { //nolint:errorlint // never wrapped
			if last {
				v, found = w.value(k, w.b[from:w.at], on)
			} else if k == structure {
				v, found = Value{raw: w.rest(from, err)}, true
			}
		}
		if err != nil {
			return v, found, err
		}
	}
}

// rest is what was passed since from, or, where that went on, what there is.
func (w *walker) rest(from int, err error) []byte {
	if err != nil {
		return w.b[from:]
	}
	return w.b[from:w.at]
}

// head reads the head of a field; stop where the struct ends. on is the value of a
// boolean of the compact protocol.
func (w *walker) head(prior int16) (k kind, id int16, on bool, err error) {
	b := w.b[w.at:]
	if len(b) == 0 {
		return stop, 0, false, ErrShort
	}
	if b[0] == 0 {
		w.at++
		return stop, 0, false, nil
	}
	if w.p == Compact {
		id, n, err := compactFieldID(b, prior)
		w.at += n
		return compactKind(b[0] & 0x0f), id, b[0]&0x0f == 1, err
	}
	if k = binaryKind(b[0]); k == noKind {
		return stop, 0, false, Malformed("a type that there is not")
	}
	if len(b) < 3 {
		return stop, 0, false, ErrShort
	}
	w.at += 3
	return k, int16(binary.BigEndian.Uint16(b[1:])), false, nil
}

// pass moves behind a value of k that lies at depth.
func (w *walker) pass(k kind, depth int) error {
	size := int64(k.fixed(w.p))
	if k == text && w.p != JSON {
		n, used, err := length(w.p, w.b[w.at:])
		if err != nil {
			return err
		}
		size = n + int64(used)
		if n < 0 || size > MaxFrame {
			return Malformed("a length of more than there is")
		}
	}
	if size > 0 && w.p != JSON {
		if size > int64(len(w.b)-w.at) {
			return ErrShort
		}
		w.at += int(size)
		return nil
	}
	w.skip.value(w.p, k, depth, MaxFrame)
	n, err := w.skip.Scan(w.b[w.at:])
	if err != nil {
		return err
	}
	if !w.skip.Done() {
		return ErrShort
	}
	w.at += n
	return nil
}

// value reads a value that b holds.
func (w *walker) value(k kind, b []byte, on bool) (v Value, ok bool) {
	v.kind = k
	switch k {
	case text:
		_, n, _ := length(w.p, b)
		v.raw = b[n:]
	case uuid:
		v.raw = b
	case boolean:
		if w.p != Compact {
			on = b[0] != 0
		}
		if on {
			v.number = 1
		}
	case i8:
		v.number = int64(int8(b[0]))
	case i16, i32, i64:
		v.number = integer(w.p, k, b)
	default:
		return Value{}, false
	}
	return v, true
}

// integer reads an integer of more than a byte.
func integer(p Protocol, k kind, b []byte) int64 {
	if p == Compact {
		u, _, _ := uvarint64(b)
		switch n := zigzag(u); k {
		case i16:
			return int64(int16(n))
		case i32:
			return int64(int32(n))
		default:
			return n
		}
	}
	switch k {
	case i16:
		return int64(int16(binary.BigEndian.Uint16(b)))
	case i32:
		return int64(int32(binary.BigEndian.Uint32(b)))
	}
	return int64(binary.BigEndian.Uint64(b))
}

// Bytes is the text where no copy is needed to have it; nil otherwise.
func (v *Value) Bytes() []byte {
	if v.kind == text && !v.escaped {
		return v.raw
	}
	return nil
}

// Append appends the value, in whatever protocol it came: text as it is, which is what
// it encodes where JSON has binary; numbers in decimal; true and false; a UUID with
// hyphens.
func (v *Value) Append(dst []byte) []byte {
	switch v.kind {
	case text:
		if v.escaped {
			return appendUnescaped(dst, v.raw)
		}
		return append(dst, v.raw...)
	case boolean:
		return strconv.AppendBool(dst, v.number != 0)
	case uuid:
		if len(v.raw) != 16 {
			return append(dst, v.raw...)
		}
		for i := range v.raw {
			if i == 4 || i == 6 || i == 8 || i == 10 {
				dst = append(dst, '-')
			}
			dst = hex.AppendEncode(dst, v.raw[i:i+1])
		}
		return dst
	}
	return strconv.AppendInt(dst, v.number, 10)
}

// appendUnescaped appends the string that b spells, which a jsonScanner has passed.
func appendUnescaped(dst, b []byte) []byte {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\\')
		if i < 0 || i+1 >= len(b) {
			return append(dst, b...)
		}
		dst = append(dst, b[:i]...)
		c := b[i+1]
		b = b[i+2:]
		switch c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			var r rune
			r, b = unescapeRune(b)
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// unescapeRune reads four hex digits and, after the first half of a pair, the other.
func unescapeRune(b []byte) (rune, []byte) {
	r, ok := hex4(b)
	if !ok {
		return utf8.RuneError, nil
	}
	b = b[4:]
	if r >= 0xd800 && r < 0xdc00 && len(b) >= 6 && b[0] == '\\' && b[1] == 'u' {
		if low, ok := hex4(b[2:]); ok && low >= 0xdc00 && low < 0xe000 {
			return (r-0xd800)<<10 + (low - 0xdc00) + 0x10000, b[6:]
		}
	}
	return r, b
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	r := rune(0)
	for _, c := range b[:4] {
		r = r<<4 | rune(unhex(c))
	}
	return r, true
}
