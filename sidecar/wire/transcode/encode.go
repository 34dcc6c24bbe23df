// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
)

// encoder writes JSON as Thrift.
type encoder struct {
	in      []byte
	pos     int
	out     []byte
	compact bool
	// max bounds out.
	max     int
	depth   int
	scratch []byte
}

// whole writes the value that is all of the input.
func (e *encoder) whole(t *typ) error {
	if err := e.value(t); err != nil {
		return err
	}
	return e.end()
}

func (e *encoder) end() error {
	if e.peek() != 0 || e.pos < len(e.in) {
		return e.unexpected("the end")
	}
	return nil
}

// value writes a value without a field's header.
func (e *encoder) value(t *typ) error {
	switch t.kind {
	case kindBool:
		v, err := e.boolean()
		if err == nil {
			e.writeBool(v)
		}
		return err
	case kindI8, kindI16, kindI32, kindI64:
		v, err := e.integer(t)
		if err == nil {
			e.writeInt(t.wire, v)
		}
		return err
	case kindDouble:
		return e.double()
	case kindString:
		if e.peek() != '"' {
			return e.mismatch(t)
		}
		b, err := e.text()
		if err != nil {
			return err
		}
		e.writeBytes(b)
		return e.room()
	case kindBinary:
		return e.base64(t)
	case kindEnum:
		return e.enum(t)
	case kindStruct:
		return e.object(t.structure)
	case kindMap:
		return e.mapping(t)
	}
	return e.list(t)
}

func (e *encoder) boolean() (bool, error) {
	switch e.peek() {
	case 't':
		if e.literal("true") {
			return true, nil
		}
	case 'f':
		if e.literal("false") {
			return false, nil
		}
	}
	return false, e.mismatchKind(kindBool)
}

// integer reads an integer; those of 64 bits, and those that we quote ourselves, may be
// strings.
func (e *encoder) integer(t *typ) (int64, error) {
	if e.peek() == '"' && (t.kind == kindI64 || t.quoted) {
		b, err := e.text()
		if err != nil {
			return 0, err
		}
		return integerOf(t, b)
	}
	n, whole := e.number()
	if len(n) == 0 {
		return 0, e.mismatch(t)
	}
	if !whole {
		return 0, bad("is " + clip(n) + ", not " + t.kind.words())
	}
	return integerOf(t, n)
}

func integerOf(t *typ, b []byte) (int64, error) {
	v, ok, fits := parseInt(b)
	if !ok {
		return 0, bad("is " + clip(b) + ", not " + t.kind.words())
	}
	lowest, highest := int64(math.MinInt64), int64(math.MaxInt64)
	switch t.kind {
	case kindI8:
		lowest, highest = math.MinInt8, math.MaxInt8
	case kindI16:
		lowest, highest = math.MinInt16, math.MaxInt16
	case kindI32, kindEnum:
		lowest, highest = math.MinInt32, math.MaxInt32
	}
	if !fits || v < lowest || v > highest {
		return 0, bad("is " + clip(b) + ", outside of " + strconv.FormatInt(lowest, 10) + " to " + strconv.FormatInt(highest, 10))
	}
	return v, nil
}

func (e *encoder) double() error {
	var v float64
	var err error
	if e.peek() == '"' {
		b, err2 := e.text()
		if err2 != nil {
			return err2
		}
		v, err = specialDouble(b)
	} else {
		n, _ := e.number()
		if len(n) == 0 {
			return e.mismatchKind(kindDouble)
		}
		v, err = doubleOf(n)
	}
	if err != nil {
		return err
	}
	e.writeDouble(v)
	return nil
}

func specialDouble(b []byte) (float64, error) {
	switch string(b) {
	case "NaN":
		return math.NaN(), nil
	case "Infinity":
		return math.Inf(1), nil
	case "-Infinity":
		return math.Inf(-1), nil
	}
	return 0, bad("is the string " + clip(b) + ", not a number, \"NaN\", \"Infinity\" or \"-Infinity\"")
}

func doubleOf(n []byte) (float64, error) {
	v, err := strconv.ParseFloat(string(n), 64)
	if err != nil {
		return 0, bad("is " + clip(n) + ", outside of the range of a double")
	}
	return v, nil
}

func (e *encoder) base64(t *typ) error {
	if e.peek() != '"' {
		return e.mismatch(t)
	}
	b, err := e.text()
	if err != nil {
		return err
	}
	start := e.beginBytes()
	if e.out, err = appendBase64(e.out, b); err != nil {
		return err
	}
	e.endBytes(start)
	return e.room()
}

// appendBase64 decodes both alphabets of RFC 4648, with or without padding.
func appendBase64(dst, b []byte) ([]byte, error) {
	encoding := base64.RawStdEncoding
	for i, c := range b {
		switch c {
		case '-', '_':
			encoding = base64.RawURLEncoding
		case '\r', '\n':
			return dst, bad("is not base64 at byte " + strconv.Itoa(i))
		}
	}
	if len(b)%4 == 0 {
		b = bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("=")), []byte("="))
	}
	out, err := encoding.AppendDecode(dst, b)
	if err != nil {
		return dst, bad("is not base64")
	}
	return out, nil
}

func (e *encoder) enum(t *typ) error {
	var v int64
	if e.peek() == '"' {
		b, err := e.text()
		if err != nil {
			return err
		}
		n, ok := t.enum.numbers[string(b)]
		if !ok {
			return bad("is " + clip(b) + ", no value of the enum " + t.enum.name)
		}
		v = int64(n)
	} else {
		n, whole := e.number()
		if len(n) == 0 || !whole {
			return e.mismatch(t)
		}
		var err error
		if v, err = integerOf(t, n); err != nil {
			return err
		}
	}
	e.writeInt(wireI32, v)
	return nil
}

// room checks that what was written is not too much.
func (e *encoder) room() error {
	if len(e.out) > e.max {
		return &valueError{what: "the call is larger than " + strconv.Itoa(e.max) + " bytes", whole: true, large: true}
	}
	return nil
}

func (e *encoder) mismatch(t *typ) error { return e.mismatchKind(t.kind) }

// mismatchKind says what the next value is in place of one of a kind.
func (e *encoder) mismatchKind(k kind) error {
	what := ""
	switch c := e.peek(); {
	case c == '"':
		what = "is a string"
	case c == '{':
		what = "is an object"
	case c == '[':
		what = "is an array"
	case c == 't' || c == 'f':
		what = "is a boolean"
	case c == 'n':
		what = "is null"
	case c == '-' || '0' <= c && c <= '9':
		what = "is a number"
	}
	// What is no JSON at all is said as that.
	at := e.pos
	if err := e.skip(e.depth); err != nil {
		return err
	}
	e.pos = at
	return bad(what + ", not " + k.words())
}

// clip is a value in a message.
func clip(b []byte) string {
	const most = 40
	if len(b) > most {
		return strconv.QuoteToGraphic(string(b[:most])) + "…"
	}
	return strconv.QuoteToGraphic(string(b))
}

// Writing scalars.

func (e *encoder) writeBool(v bool) {
	switch {
	case v:
		e.out = append(e.out, 1)
	case e.compact:
		e.out = append(e.out, 2)
	default:
		e.out = append(e.out, 0)
	}
}

func (e *encoder) writeInt(wire byte, v int64) {
	if wire == wireI8 {
		e.out = append(e.out, byte(v))
		return
	}
	if e.compact {
		e.out = binary.AppendVarint(e.out, v)
		return
	}
	switch wire {
	case wireI16:
		e.out = binary.BigEndian.AppendUint16(e.out, uint16(v))
	case wireI32:
		e.out = binary.BigEndian.AppendUint32(e.out, uint32(v))
	default:
		e.out = binary.BigEndian.AppendUint64(e.out, uint64(v))
	}
}

func (e *encoder) writeDouble(v float64) {
	if e.compact {
		e.out = binary.LittleEndian.AppendUint64(e.out, math.Float64bits(v))
		return
	}
	e.out = binary.BigEndian.AppendUint64(e.out, math.Float64bits(v))
}

func (e *encoder) writeBytes(b []byte) {
	if e.compact {
		e.out = binary.AppendUvarint(e.out, uint64(len(b)))
	} else {
		e.out = binary.BigEndian.AppendUint32(e.out, uint32(len(b)))
	}
	e.out = append(e.out, b...)
}

// beginBytes leaves room for a length.
func (e *encoder) beginBytes() int {
	if e.compact {
		e.out = append(e.out, 0)
	} else {
		e.out = append(e.out, 0, 0, 0, 0)
	}
	return len(e.out)
}

// endBytes writes the length of what was written since beginBytes.
func (e *encoder) endBytes(start int) {
	n := len(e.out) - start
	if !e.compact {
		binary.BigEndian.PutUint32(e.out[start-4:], uint32(n))
		return
	}
	e.putUvarint(start-1, uint64(n))
}

// putUvarint puts v in the place of one byte at i, moving on what follows.
func (e *encoder) putUvarint(i int, v uint64) {
	if v < 0x80 {
		e.out[i] = byte(v)
		return
	}
	var buf [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(buf[:], v)
	e.insert(i+1, n-1)
	copy(e.out[i:], buf[:n])
}

// insert makes room for n bytes at i.
func (e *encoder) insert(i, n int) {
	for range n {
		e.out = append(e.out, 0)
	}
	copy(e.out[i+n:], e.out[i:])
}
