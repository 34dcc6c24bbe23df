// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"fmt"

	"weir.dev/weir/api/snapshot"
)

// kind has the numbers of snapshot.ThriftType_Kind.
type kind uint8

const (
	kindBool kind = iota + 1
	kindI8
	kindI16
	kindI32
	kindI64
	kindDouble
	kindString
	kindBinary
	kindEnum
	kindStruct
	kindList
	kindSet
	kindMap
)

// Types on the wire, with binary protocol's numbers.
const (
	wireStop   = 0
	wireBool   = 2
	wireI8     = 3
	wireDouble = 4
	wireI16    = 6
	wireI32    = 8
	wireI64    = 10
	wireString = 11
	wireStruct = 12
	wireMap    = 13
	wireSet    = 14
	wireList   = 15
	wireUUID   = 16
)

func (k kind) wire() byte {
	return [...]byte{
		kindBool: wireBool, kindI8: wireI8, kindI16: wireI16, kindI32: wireI32, kindI64: wireI64, kindDouble: wireDouble,
		kindString: wireString, kindBinary: wireString, kindEnum: wireI32, kindStruct: wireStruct,
		kindList: wireList, kindSet: wireSet, kindMap: wireMap,
	}[k]
}

// words are for messages: what a value of the kind is in JSON.
func (k kind) words() string {
	return [...]string{
		kindBool: "true or false", kindI8: "an integer of 8 bits", kindI16: "an integer of 16 bits", kindI32: "an integer of 32 bits",
		kindI64: "an integer of 64 bits", kindDouble: "a number", kindString: "a string", kindBinary: "a string of base64",
		kindEnum: "the name or number of an enum's value", kindStruct: "an object", kindList: "an array", kindSet: "an array",
		kindMap: "an object",
	}[k]
}

// compactOf is compact protocol's number of a wire type, for elements: of bools that of true.
func compactOf(wire byte) byte {
	return [...]byte{
		wireBool: 1, wireI8: 3, wireI16: 4, wireI32: 5, wireI64: 6, wireDouble: 7, wireString: 8,
		wireList: 9, wireSet: 10, wireMap: 11, wireStruct: 12, wireUUID: 13,
	}[wire]
}

// wireOf is the other way; 0: there is no such type.
func wireOf(compact byte) byte {
	types := [...]byte{
		0, wireBool, wireBool, wireI8, wireI16, wireI32, wireI64, wireDouble, wireString,
		wireList, wireSet, wireMap, wireStruct, wireUUID,
	}
	if int(compact) >= len(types) {
		return 0
	}
	return types[compact]
}

type typ struct {
	kind          kind
	wire, compact byte
	// quoted integers are strings in JSON that we write.
	quoted    bool
	key       *typ
	element   *typ
	enum      *enum
	structure *structure
}

// scalar values can be the name of a member, a parameter or a header.
func (t *typ) scalar() bool { return t.kind <= kindEnum }

type structure struct {
	name   string
	union  bool
	fields []*field
	names  map[string]*field
	// near finds fields by small ids.
	near []*field
	far  map[int16]*field
	// must are those that an encoder or decoder looks at in the end: required ones, and
	// those that a response has by default.
	must []*field
}

type field struct {
	id   int16
	name string
	// key is the name as JSON string.
	key                        []byte
	typ                        *typ
	index                      int
	required, optional, hidden bool
	// defaults are values in Binary and Compact, empty where there is none.
	defaults    [2][]byte
	defaultJSON []byte
}

// nearIDs is up to which id fields are found in a slice.
const nearIDs = 64

func (s *structure) index() error {
	s.names = make(map[string]*field, len(s.fields))
	s.far = map[int16]*field{}
	for _, f := range s.fields {
		if f.id >= 0 && f.id < nearIDs {
			for len(s.near) <= int(f.id) {
				s.near = append(s.near, nil)
			}
			s.near[f.id] = f
		} else {
			s.far[f.id] = f
		}
		if f.required || !f.optional {
			s.must = append(s.must, f)
		}
		if f.hidden {
			continue
		}
		if s.names[f.name] != nil {
			return fmt.Errorf("two fields have the name %s", f.name)
		}
		s.names[f.name] = f
	}
	return nil
}

func (s *structure) byID(id int16) *field {
	if id >= 0 && int(id) < len(s.near) {
		return s.near[id]
	}
	if id >= 0 && id < nearIDs {
		return nil
	}
	return s.far[id]
}

type enum struct {
	name    string
	numbers map[string]int32
	names   map[int32]string
}

func newEnum(in *snapshot.ThriftEnum) *enum {
	e := &enum{name: in.GetName(), numbers: map[string]int32{}, names: map[int32]string{}}
	for _, v := range in.GetValues() {
		e.numbers[v.GetName()] = v.GetNumber()
		if _, ok := e.names[v.GetNumber()]; !ok {
			e.names[v.GetNumber()] = v.GetName()
		}
	}
	return e
}

// bits are a set of a structure's fields.
type bits struct {
	low  uint64
	high []uint64
}

func (b *bits) has(i int) bool {
	if i < 64 {
		return b.low&(1<<i) != 0
	}
	i -= 64
	return i/64 < len(b.high) && b.high[i/64]&(1<<(i%64)) != 0
}

func (b *bits) set(i int) {
	if i < 64 {
		b.low |= 1 << i
		return
	}
	i -= 64
	for len(b.high) <= i/64 {
		b.high = append(b.high, 0)
	}
	b.high[i/64] |= 1 << (i % 64)
}
