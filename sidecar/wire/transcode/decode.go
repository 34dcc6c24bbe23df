// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
)

// errShort: the message ends too early.
var errShort error = &shortError{}

type shortError struct{}

func (*shortError) Error() string { return "it ends too early" }

// decoder writes Thrift as JSON.
type decoder struct {
	in      []byte
	pos     int
	out     []byte
	compact bool
	// max bounds out.
	max   int
	depth int
	// truth is the bool that the last field's header had, compact only.
	truth, hasTruth bool
}

func (d *decoder) left() int { return len(d.in) - d.pos }

func (d *decoder) byte() (byte, error) {
	if d.pos >= len(d.in) {
		return 0, errShort
	}
	d.pos++
	return d.in[d.pos-1], nil
}

// take returns the next n bytes, of the input.
func (d *decoder) take(n int) ([]byte, error) {
	if n < 0 || n > d.left() {
		return nil, errShort
	}
	d.pos += n
	return d.in[d.pos-n : d.pos], nil
}

func (d *decoder) uvarint() (uint64, error) {
	v, n := binary.Uvarint(d.in[d.pos:])
	switch {
	case n == 0:
		return 0, errShort
	case n < 0:
		return 0, bad("a varint is longer than 64 bits")
	}
	d.pos += n
	return v, nil
}

func (d *decoder) integer(wire byte) (int64, error) {
	if wire == wireI8 {
		b, err := d.byte()
		return int64(int8(b)), err
	}
	if d.compact {
		u, err := d.uvarint()
		v := int64(u>>1) ^ -int64(u&1)
		switch wire {
		case wireI16:
			v = int64(int16(v))
		case wireI32:
			v = int64(int32(v))
		}
		return v, err
	}
	switch wire {
	case wireI16:
		b, err := d.take(2)
		if err != nil {
			return 0, err
		}
		return int64(int16(binary.BigEndian.Uint16(b))), nil
	case wireI32:
		b, err := d.take(4)
		if err != nil {
			return 0, err
		}
		return int64(int32(binary.BigEndian.Uint32(b))), nil
	}
	b, err := d.take(8)
	if err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}

func (d *decoder) double() (float64, error) {
	b, err := d.take(8)
	if err != nil {
		return 0, err
	}
	if d.compact {
		return math.Float64frombits(binary.LittleEndian.Uint64(b)), nil
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
}

func (d *decoder) boolean() (bool, error) {
	if d.hasTruth {
		d.hasTruth = false
		return d.truth, nil
	}
	b, err := d.byte()
	return b == 1, err
}

func (d *decoder) length() (int, error) {
	if d.compact {
		v, err := d.uvarint()
		if err == nil && v > math.MaxInt32 {
			return 0, bad("a length is above 2^31")
		}
		return int(v), err
	}
	v, err := d.integer(wireI32)
	if err == nil && v < 0 {
		return 0, bad("a length is below 0")
	}
	return int(v), err
}

func (d *decoder) bytes() ([]byte, error) {
	n, err := d.length()
	if err != nil {
		return nil, err
	}
	return d.take(n)
}

// count checks that so many elements, of a byte or more each, can be there.
func (d *decoder) count(n, each int) error {
	if n > d.left()/each {
		return errShort
	}
	return nil
}

// field reads a field's header; a wire type of 0 is the struct's end.
func (d *decoder) field(last int16) (wire byte, id int16, err error) {
	b, err := d.byte()
	if err != nil || b == wireStop {
		return 0, 0, err
	}
	if !d.compact {
		v, err := d.integer(wireI16)
		return b, int16(v), err
	}
	if delta := b >> 4; delta > 0 {
		id = last + int16(delta)
	} else {
		v, err := d.integer(wireI16)
		if err != nil {
			return 0, 0, err
		}
		id = int16(v)
	}
	t := b & 0xF
	if wire = wireOf(t); wire == 0 {
		return 0, 0, bad("a field has the type " + strconv.Itoa(int(t)) + ", which compact protocol does not have")
	}
	if wire == wireBool {
		d.truth, d.hasTruth = t == 1, true
	}
	return wire, id, nil
}

// list reads the header of a list or set.
func (d *decoder) list() (element byte, n int, err error) {
	b, err := d.byte()
	if err != nil {
		return 0, 0, err
	}
	if !d.compact {
		element = b
		n, err = d.length()
	} else {
		element = wireOf(b & 0xF)
		if n = int(b >> 4); n == 15 {
			n, err = d.length()
		}
	}
	if err != nil {
		return 0, 0, err
	}
	return element, n, d.count(n, 1)
}

// mapping reads the header of a map.
func (d *decoder) mapping() (key, value byte, n int, err error) {
	if d.compact {
		if n, err = d.length(); err != nil || n == 0 {
			return 0, 0, 0, err
		}
		b, err := d.byte()
		if err != nil {
			return 0, 0, 0, err
		}
		return wireOf(b >> 4), wireOf(b & 0xF), n, d.count(n, 2)
	}
	b, err := d.take(2)
	if err != nil {
		return 0, 0, 0, err
	}
	if n, err = d.length(); err != nil {
		return 0, 0, 0, err
	}
	return b[0], b[1], n, d.count(n, 2)
}

// skip passes a value of any type.
func (d *decoder) skip(wire byte) error {
	var err error
	switch wire {
	case wireBool:
		_, err = d.boolean()
	case wireI8, wireI16, wireI32, wireI64:
		_, err = d.integer(wire)
	case wireDouble:
		_, err = d.take(8)
	case wireString:
		_, err = d.bytes()
	case wireUUID:
		_, err = d.take(16)
	case wireStruct, wireList, wireSet, wireMap:
		if err = d.nest(); err == nil {
			err = d.skipNested(wire)
			d.depth--
		}
	default:
		return bad("a value has the type " + strconv.Itoa(int(wire)) + ", which Thrift does not have")
	}
	return err
}

func (d *decoder) skipNested(wire byte) error {
	switch wire {
	case wireStruct:
		for {
			// Ids do not matter.
			wire, _, err := d.field(0)
			if err != nil || wire == wireStop {
				return err
			}
			if err := d.skip(wire); err != nil {
				return err
			}
		}
	case wireMap:
		key, value, n, err := d.mapping()
		for ; n > 0 && err == nil; n-- {
			if err = d.skip(key); err == nil {
				err = d.skip(value)
			}
		}
		return err
	}
	element, n, err := d.list()
	for ; n > 0 && err == nil; n-- {
		err = d.skip(element)
	}
	return err
}

var errDeepReply error = &valueError{what: "it nests deeper than " + strconv.Itoa(MaxDepth) + " levels", whole: true}

// value writes a value of a type as JSON.
func (d *decoder) value(t *typ) error {
	switch t.kind {
	case kindBool, kindI8, kindI16, kindI32, kindI64, kindEnum:
		if t.quoted && t.kind != kindBool && t.kind != kindEnum {
			d.out = append(d.out, '"')
			if err := d.scalar(t); err != nil {
				return err
			}
			d.out = append(d.out, '"')
			return nil
		}
		if t.kind == kindEnum {
			return d.enum(t)
		}
		return d.scalar(t)
	case kindDouble:
		return d.doubleJSON()
	case kindString:
		b, err := d.bytes()
		if err == nil {
			d.out = appendString(d.out, b)
		}
		return firstOf(err, d)
	case kindBinary:
		b, err := d.bytes()
		if err == nil {
			d.out = append(d.out, '"')
			d.out = base64.StdEncoding.AppendEncode(d.out, b)
			d.out = append(d.out, '"')
		}
		return firstOf(err, d)
	case kindStruct:
		return d.object(t.structure, nil)
	case kindMap:
		return d.mapJSON(t)
	}
	return d.listJSON(t)
}

func firstOf(err error, d *decoder) error {
	if err != nil {
		return err
	}
	return d.room()
}

func (d *decoder) room() error {
	if len(d.out) > d.max {
		return bad("it makes a response of more than " + strconv.Itoa(d.max) + " bytes")
	}
	return nil
}

// scalar writes a scalar as it stands in text, without quotes.
func (d *decoder) scalar(t *typ) error {
	switch t.kind {
	case kindBool:
		v, err := d.boolean()
		d.out = strconv.AppendBool(d.out, v)
		return err
	case kindDouble:
		v, err := d.double()
		d.out = appendDouble(d.out, v)
		return err
	case kindString:
		b, err := d.bytes()
		d.out = append(d.out, b...)
		return firstOf(err, d)
	case kindBinary:
		b, err := d.bytes()
		d.out = base64.StdEncoding.AppendEncode(d.out, b)
		return firstOf(err, d)
	case kindEnum:
		v, err := d.integer(wireI32)
		if name, ok := t.enum.names[int32(v)]; ok {
			d.out = append(d.out, name...)
		} else {
			d.out = strconv.AppendInt(d.out, v, 10)
		}
		return err
	}
	v, err := d.integer(t.wire)
	d.out = strconv.AppendInt(d.out, v, 10)
	return err
}

// enum writes the name, or the number of a value that the IDL does not have.
func (d *decoder) enum(t *typ) error {
	v, err := d.integer(wireI32)
	if err != nil {
		return err
	}
	if name, ok := t.enum.names[int32(v)]; ok {
		d.out = appendString(d.out, name)
	} else {
		d.out = strconv.AppendInt(d.out, v, 10)
	}
	return nil
}

func (d *decoder) doubleJSON() error {
	v, err := d.double()
	if err != nil {
		return err
	}
	if special := math.IsNaN(v) || math.IsInf(v, 0); special {
		d.out = append(d.out, '"')
		d.out = appendDouble(d.out, v)
		d.out = append(d.out, '"')
		return nil
	}
	d.out = appendDouble(d.out, v)
	return nil
}
