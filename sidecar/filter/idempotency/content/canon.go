// SPDX-License-Identifier: Apache-2.0

package content

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strconv"
	"unicode/utf8"
)

// inline is how long the encoding of an array or an object may be that stands in its
// parent's as it is; a longer one is replaced by its SHA-256.
const inline = 64

// keep bounds the memory that a Canon keeps for the next body.
const keep = 64 << 10

// Tags of encodings. Each is followed by what makes it self-delimiting, so that no two
// values have the same encoding.
const (
	tagString   = 's' // length, bytes
	tagNumber   = 'n' // length, bytes
	tagTrue     = 't'
	tagFalse    = 'f'
	tagNull     = 'z'
	tagExcluded = 'x' // of an array's element, so that the others keep their places
	tagHashed   = '#' // after { or [: 32 bytes
	tagWhole    = '=' // after { or [: length, bytes
)

// Canon makes digests, with memory that it uses again. The zero value is good. Not for
// concurrent use.
type Canon struct {
	scanner
	// arena has the encodings of values that are being read.
	arena   []byte
	members []member
	sorted  []byte
	// live are the excluded pointers that lead to the value that is read, or past it.
	live []live
	// excluded is that the value that was read last is.
	excluded bool
}

// member of an object: its name is arena[from:name], with its length, its value
// arena[name:to].
type member struct{ from, name, to int }

type live struct {
	pointer *Pointer
	matched int
}

// encode puts the canonical encoding of a JSON text into c.arena. It reports whether it
// is one.
func (c *Canon) encode(text []byte, exclude []Pointer) bool {
	c.in, c.at = text, 0
	c.arena, c.members, c.live = c.arena[:0], c.members[:0], c.live[:0]
	if !utf8.Valid(text) {
		return false
	}
	for i := range exclude {
		c.live = append(c.live, live{pointer: &exclude[i]})
	}
	ok := c.value(0, 0) && c.end()
	c.in = nil
	return ok
}

// release lets go of memory that an unusual body has needed.
func (c *Canon) release() {
	if cap(c.arena) > keep {
		c.arena = nil
	}
	if cap(c.sorted) > keep {
		c.sorted = nil
	}
	if cap(c.members) > keep/8 {
		c.members = nil
	}
}

// value encodes one value. c.live[from:] are the pointers that concern it.
func (c *Canon) value(depth, from int) bool {
	excluded := false
	for _, l := range c.live[from:] {
		excluded = excluded || l.matched == len(l.pointer.tokens)
	}
	ok := c.encodeValue(depth, from)
	c.excluded = excluded
	return ok
}

func (c *Canon) encodeValue(depth, from int) bool {
	start := len(c.arena)
	switch first := c.peek(); first {
	case '{', '[':
		if depth == MaxDepth {
			return false
		}
		c.at++
		c.arena = append(c.arena, first)
		if first == '{' && !c.object(depth, from) || first == '[' && !c.array(depth, from) {
			return false
		}
		c.fold(start + 1)
		return true
	case '"':
		c.arena = append(c.arena, tagString, 0, 0, 0, 0)
		var ok bool
		c.arena, ok = c.text(c.arena)
		c.length(start + 1)
		return ok
	case 't':
		c.arena = append(c.arena, tagTrue)
		return c.word("true")
	case 'f':
		c.arena = append(c.arena, tagFalse)
		return c.word("false")
	case 'n':
		c.arena = append(c.arena, tagNull)
		return c.word("null")
	}
	n, ok := c.number()
	c.arena = append(c.arena, tagNumber, 0, 0, 0, 0)
	c.arena = append(c.arena, n...)
	c.length(start + 1)
	return ok
}

// length sets the four bytes at n to how many follow them.
func (c *Canon) length(n int) {
	binary.BigEndian.PutUint32(c.arena[n:], uint32(len(c.arena)-n-4))
}

// fold ends an array or an object, whose encoding is arena[start:].
func (c *Canon) fold(start int) {
	body := c.arena[start:]
	if len(body) > inline {
		sum := sha256.Sum256(body)
		c.arena = append(append(c.arena[:start], tagHashed), sum[:]...)
		return
	}
	var small [inline]byte
	n := copy(small[:], body)
	c.arena = append(append(c.arena[:start], tagWhole, byte(n)), small[:n]...)
}

// narrow puts the pointers that concern a member or an element on top of c.live.
func (c *Canon) narrow(from int, name []byte) {
	to := len(c.live)
	for i := from; i < to; i++ {
		l := c.live[i]
		if l.matched < len(l.pointer.tokens) && l.pointer.tokens[l.matched] == string(name) {
			c.live = append(c.live, live{l.pointer, l.matched + 1})
		}
	}
}

func (c *Canon) array(depth, from int) bool {
	if c.peek() == ']' {
		c.at++
		return true
	}
	for i := 0; ; i++ {
		start, inner := len(c.arena), len(c.live)
		if len(c.live) > from {
			var index [20]byte
			c.narrow(from, strconv.AppendInt(index[:0], int64(i), 10))
		}
		if !c.value(depth+1, inner) {
			return false
		}
		c.live = c.live[:inner]
		if c.excluded {
			c.arena = append(c.arena[:start], tagExcluded)
		}
		switch c.peek() {
		case ',':
			c.at++
		case ']':
			c.at++
			return true
		default:
			return false
		}
	}
}

func (c *Canon) object(depth, from int) bool {
	if c.peek() == '}' {
		c.at++
		return true
	}
	first := len(c.members)
	for {
		if c.peek() != '"' {
			return false
		}
		m := member{from: len(c.arena)}
		c.arena = append(c.arena, 0, 0, 0, 0)
		var ok bool
		if c.arena, ok = c.text(c.arena); !ok || c.peek() != ':' {
			return false
		}
		c.at++
		c.length(m.from)
		m.name = len(c.arena)
		inner := len(c.live)
		c.narrow(from, c.arena[m.from+4:m.name])
		if !c.value(depth+1, inner) {
			return false
		}
		c.live = c.live[:inner]
		if m.to = len(c.arena); c.excluded {
			c.arena = c.arena[:m.from]
		} else {
			c.members = append(c.members, m)
		}
		switch c.peek() {
		case ',':
			c.at++
		case '}':
			c.at++
			return c.sort(first)
		default:
			return false
		}
	}
}

// sort puts the members from first on in order; false where two have one name.
func (c *Canon) sort(first int) bool {
	list := c.members[first:]
	byName := func(a, b member) int { return bytes.Compare(c.arena[a.from:a.name], c.arena[b.from:b.name]) }
	sorted := true
	for i := 1; i < len(list) && sorted; i++ {
		sorted = byName(list[i-1], list[i]) < 0
	}
	if !sorted {
		start := list[0].from
		slices.SortFunc(list, byName)
		c.sorted = c.sorted[:0]
		for i, m := range list {
			if i > 0 && byName(list[i-1], m) == 0 {
				return false
			}
			c.sorted = append(c.sorted, c.arena[m.from:m.to]...)
		}
		copy(c.arena[start:], c.sorted)
	}
	c.members = c.members[:first]
	return true
}
