// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// Writing structs and containers.

// members is the state of a struct that is being written.
type members struct {
	structure *structure
	// last is the id before, for compact protocol.
	last int16
	// seen are the fields that are written, given those that a place outside of the
	// body has given, elsewhere those that are no members of the body by their name.
	seen, given, elsewhere bits
	count                  int
	// guess is the field that is likely to come next.
	guess int
}

func (e *encoder) object(s *structure) error {
	m := members{structure: s}
	if err := e.nest(); err != nil {
		return err
	}
	if err := e.fields(&m, s.names, nil); err != nil {
		return err
	}
	if err := e.finish(&m); err != nil {
		return err
	}
	e.depth--
	return nil
}

func (e *encoder) nest() error {
	if e.depth++; e.depth > MaxDepth {
		return e.deep()
	}
	return nil
}

// fields reads an object. names are the members that are fields; of those in mapped
// that some other place has given, the member is left out.
func (e *encoder) fields(m *members, names map[string]*field, mapped map[string]*field) error {
	if e.peek() != '{' {
		return e.mismatchKind(kindStruct)
	}
	e.pos++
	if e.take('}') {
		return nil
	}
	for {
		if e.peek() != '"' {
			return e.unexpected("a member's name in quotes")
		}
		name, err := e.text()
		if err != nil {
			return err
		}
		f := e.find(m, names, mapped, name)
		if !e.take(':') {
			return e.unexpected("a colon")
		}
		if f == nil {
			err = e.skip(e.depth)
		} else {
			err = e.member(m, f)
		}
		if err != nil {
			return err
		}
		if done, err := e.next('}'); done || err != nil {
			return err
		}
	}
}

func (e *encoder) find(m *members, names, mapped map[string]*field, name []byte) *field {
	if m.guess < len(m.structure.fields) {
		if f := m.structure.fields[m.guess]; f.name == string(name) && !f.hidden && !m.elsewhere.has(f.index) {
			m.guess++
			return f
		}
	}
	f := names[string(name)]
	if f == nil {
		if f = mapped[string(name)]; f == nil || m.given.has(f.index) {
			return nil
		}
	}
	m.guess = f.index + 1
	return f
}

// member writes the field that comes next.
func (e *encoder) member(m *members, f *field) error {
	if m.seen.has(f.index) {
		return under(bad("is given twice"), f.name)
	}
	if e.null() {
		return nil
	}
	m.seen.set(f.index)
	m.count++
	if e.compact && f.typ.kind == kindBool {
		v, err := e.boolean()
		if err != nil {
			return under(err, f.name)
		}
		e.writeField(m, f, v)
		return nil
	}
	e.writeField(m, f, true)
	if err := e.value(f.typ); err != nil {
		return under(err, f.name)
	}
	return nil
}

// writeField writes the header of a field; in compact protocol it has the value of a
// bool.
func (e *encoder) writeField(m *members, f *field, truth bool) {
	if !e.compact {
		e.out = append(e.out, f.typ.wire, byte(uint16(f.id)>>8), byte(f.id))
		return
	}
	t := f.typ.compact
	if f.typ.kind == kindBool && !truth {
		t = 2
	}
	if delta := int(f.id) - int(m.last); delta > 0 && delta < 16 {
		e.out = append(e.out, byte(delta)<<4|t)
	} else {
		e.out = append(e.out, t)
		e.out = binary.AppendVarint(e.out, int64(f.id))
	}
	m.last = f.id
}

// finish writes what the request left out, and the end.
func (e *encoder) finish(m *members) error {
	for _, f := range m.structure.must {
		if !f.required || m.seen.has(f.index) {
			continue
		}
		if len(f.defaults[0]) == 0 {
			return under(bad("is required and not there"), f.name)
		}
		e.writeDefault(m, f)
	}
	if m.structure.union && m.count != 1 {
		return bad("is the union " + m.structure.name + ", which has exactly one member")
	}
	e.out = append(e.out, wireStop)
	return e.room()
}

func (e *encoder) writeDefault(m *members, f *field) {
	if !e.compact {
		e.writeField(m, f, true)
		e.out = append(e.out, f.defaults[Binary]...)
		return
	}
	value := f.defaults[Compact]
	e.writeField(m, f, value[0] == 1)
	if f.typ.kind != kindBool {
		e.out = append(e.out, value...)
	}
}

func (e *encoder) list(t *typ) error {
	if e.peek() != '[' {
		return e.mismatch(t)
	}
	if err := e.nest(); err != nil {
		return err
	}
	e.pos++
	start := e.beginList(t.element)
	count := 0
	if !e.take(']') {
		for {
			if err := e.value(t.element); err != nil {
				return underIndex(err, count)
			}
			count++
			done, err := e.next(']')
			if err != nil {
				return err
			}
			if done {
				break
			}
		}
	}
	e.endList(start, t.element, count)
	e.depth--
	return e.room()
}

func (e *encoder) beginList(element *typ) int {
	if e.compact {
		e.out = append(e.out, element.compact)
	} else {
		e.out = append(e.out, element.wire, 0, 0, 0, 0)
	}
	return len(e.out)
}

func (e *encoder) endList(start int, element *typ, count int) {
	switch {
	case !e.compact:
		binary.BigEndian.PutUint32(e.out[start-4:], uint32(count))
	case count < 15:
		e.out[start-1] = byte(count)<<4 | element.compact
	default:
		e.out[start-1] = 0xF0 | element.compact
		e.insert(start, 1)
		e.putUvarint(start, uint64(count))
	}
}

// mapping writes an object as a map; one whose keys cannot be the names of members is
// an array of {"key": …, "value": …}.
func (e *encoder) mapping(t *typ) error {
	pairs := !t.key.scalar()
	open, end := byte('{'), byte('}')
	if pairs {
		open, end = '[', ']'
	}
	if e.peek() != open {
		if pairs {
			return e.mismatchKind(kindList)
		}
		return e.mismatch(t)
	}
	if err := e.nest(); err != nil {
		return err
	}
	e.pos++
	start := len(e.out)
	if e.compact {
		e.out = append(e.out, 0, t.key.compact<<4|t.element.compact)
	} else {
		e.out = append(e.out, t.key.wire, t.element.wire, 0, 0, 0, 0)
	}
	count := 0
	for done := e.take(end); !done; count++ {
		var err error
		if pairs {
			err = underIndex(e.pair(t), count)
		} else {
			err = e.entry(t)
		}
		if err != nil {
			return err
		}
		if done, err = e.next(end); err != nil {
			return err
		}
	}
	switch {
	case !e.compact:
		binary.BigEndian.PutUint32(e.out[start+2:], uint32(count))
	case count == 0:
		e.out = e.out[:start+1]
	default:
		e.putUvarint(start, uint64(count))
	}
	e.depth--
	return e.room()
}

// entry writes a member of an object as key and value.
func (e *encoder) entry(t *typ) error {
	if e.peek() != '"' {
		return e.unexpected("a member's name in quotes")
	}
	start := e.pos
	name, err := e.text()
	if err != nil {
		return err
	}
	end := e.pos
	if err = e.parsed(t.key, name); err == nil {
		if !e.take(':') {
			return e.unexpected("a colon")
		}
		err = e.value(t.element)
	}
	if err != nil {
		return under(err, string(e.in[start+1:end-1]))
	}
	return nil
}

// pair writes {"key": …, "value": …}.
func (e *encoder) pair(t *typ) error {
	if !e.take('{') {
		return e.mismatchKind(kindStruct)
	}
	for _, part := range []struct {
		name string
		typ  *typ
		end  byte
	}{{"key", t.key, ','}, {"value", t.element, '}'}} {
		if e.peek() != '"' {
			return bad("is not an object of key and value, in this order")
		}
		name, err := e.text()
		if err != nil {
			return err
		}
		if string(name) != part.name || !e.take(':') {
			return bad("is not an object of key and value, in this order")
		}
		if err := e.value(part.typ); err != nil {
			return under(err, part.name)
		}
		if !e.take(part.end) {
			return bad("is not an object of key and value, in this order")
		}
	}
	return nil
}

// parsed writes a scalar that stands in text: a member's name, a parameter, a header.
func (e *encoder) parsed(t *typ, text []byte) error {
	switch t.kind {
	case kindBool:
		switch string(text) {
		case "true", "1":
			e.writeBool(true)
		case "false", "0":
			e.writeBool(false)
		default:
			return bad("is " + clip(text) + ", not true or false")
		}
	case kindString:
		if !utf8.Valid(text) {
			return bad("is not UTF-8")
		}
		e.writeBytes(text)
	case kindBinary:
		start := e.beginBytes()
		var err error
		if e.out, err = appendBase64(e.out, text); err != nil {
			return err
		}
		e.endBytes(start)
	case kindDouble:
		v, err := doubleText(text)
		if err != nil {
			return err
		}
		e.writeDouble(v)
	case kindEnum:
		if n, ok := t.enum.numbers[string(text)]; ok {
			e.writeInt(wireI32, int64(n))
			return nil
		}
		v, err := integerOf(t, text)
		if err != nil {
			return bad("is " + clip(text) + ", no value of the enum " + t.enum.name)
		}
		e.writeInt(wireI32, v)
	default:
		v, err := integerOf(t, text)
		if err != nil {
			return err
		}
		e.writeInt(t.wire, v)
	}
	return e.room()
}

func doubleText(text []byte) (float64, error) {
	if n, _ := number(text); n == len(text) && n > 0 {
		return doubleOf(text)
	}
	v, err := specialDouble(text)
	if err != nil {
		return math.NaN(), bad("is " + clip(text) + ", not a number")
	}
	return v, nil
}
