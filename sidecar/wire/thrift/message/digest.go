// SPDX-License-Identifier: Apache-2.0

package message

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math"
	"strconv"
)

// DigestSize is how long a digest is.
const DigestSize = sha256.Size

// Digester makes fingerprints of arguments: the same for the same values, however they
// are written. Its memory is used again; the zero value is ready.
//
// Binary and compact give the same, and so does JSON where there is no binary, which it
// writes as text that some libraries pad, and no double that it rounds. Fields may come in any order, pairs of
// maps and elements of sets too: their digests are added up, modulo 2^256. A list keeps
// its order. Empty containers are the same whatever their elements would be, because
// compact does not say.
type Digester struct {
	levels  []hash.Hash
	scratch []byte
	scan    Scanner
}

// Digest is the fingerprint of the struct that b holds from its beginning on; what is
// behind it does not matter. A struct that is not whole is ErrShort.
func (d *Digester) Digest(p Protocol, b []byte) (sum [DigestSize]byte, err error) {
	// It is known to be well-formed, and not deeper than MaxDepth, before it is read.
	d.scan.Reset(p, MaxFrame)
	if p == JSON {
		// Without what ends the message.
		d.scan.value(p, structure, 1, MaxFrame)
	}
	n, err := d.scan.Scan(b)
	if err != nil {
		return sum, err
	}
	if !d.scan.Done() {
		return sum, ErrShort
	}
	c := cursor{d: d, walker: walker{p: p, b: b[:n]}}
	if err := c.structure(0); err != nil {
		return sum, err
	}
	d.level(0).Sum(sum[:0])
	return sum, nil
}

// level is the hash for structs and containers at depth, as it was left.
func (d *Digester) level(depth int) hash.Hash {
	for len(d.levels) <= depth {
		d.levels = append(d.levels, sha256.New())
	}
	return d.levels[depth]
}

// total adds up digests.
type total [4]uint64

func (t *total) add(h hash.Hash, scratch []byte) []byte {
	scratch = h.Sum(scratch[:0])
	carry := uint64(0)
	for i := range t {
		v := binary.LittleEndian.Uint64(scratch[8*i:])
		sum := t[i] + v + carry
		if sum < t[i] || carry == 1 && sum == t[i] {
			carry = 1
		} else {
			carry = 0
		}
		t[i] = sum
	}
	return scratch
}

func (t *total) appendTo(dst []byte) []byte {
	for _, v := range t {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	return dst
}

// cursor reads a well-formed struct into hashes.
type cursor struct {
	d *Digester
	walker
}

// write writes what identifies a value into a level's hash.
func (c *cursor) write(depth int, tag kind, b []byte) {
	h := c.d.level(depth)
	head := binary.BigEndian.AppendUint32(append(c.d.scratch[:0], byte(tag)), uint32(len(b)))
	c.d.scratch = head
	_, _ = h.Write(head)
	_, _ = h.Write(b)
}

// structure leaves the digest of a struct in the hash of depth.
func (c *cursor) structure(depth int) error {
	var sum total
	count, prior := 0, int16(0)
	if c.p == JSON {
		if err := c.expect(`{`); err != nil {
			return err
		}
	}
	for {
		k, id, on, err := c.field(prior, count)
		if err != nil {
			return err
		}
		if k == stop {
			break
		}
		prior = id
		h := c.d.level(depth + 1)
		h.Reset()
		c.d.scratch = binary.BigEndian.AppendUint16(c.d.scratch[:0], uint16(id))
		_, _ = h.Write(c.d.scratch)
		if k == boolean && c.p == Compact {
			c.write(depth+1, k, []byte{truth(on)})
		} else if err := c.value(k, depth+1); err != nil {
			return err
		}
		if c.p == JSON {
			if err := c.expect(`}`); err != nil {
				return err
			}
		}
		c.d.scratch = sum.add(h, c.d.scratch)
		count++
	}
	c.sum(structure, depth, count, &sum)
	return nil
}

// field reads the head of the next field; stop where there is none.
func (c *cursor) field(prior int16, count int) (k kind, id int16, on bool, err error) {
	if c.p != JSON {
		return c.head(prior)
	}
	if c.peek() == '}' {
		return stop, 0, false, c.expect(`}`)
	}
	if count > 0 {
		if err := c.expect(`,`); err != nil {
			return stop, 0, false, err
		}
	}
	id, k, err = c.headJSON()
	return k, id, false, err
}

// sum writes the digest of something without order.
func (c *cursor) sum(tag kind, depth, count int, sum *total) {
	c.d.level(depth).Reset()
	b := binary.BigEndian.AppendUint32(nil, uint32(count))
	c.write(depth, tag, sum.appendTo(b))
}

func truth(on bool) byte {
	if on {
		return 1
	}
	return 0
}

// value writes a value of k into the hash of depth.
func (c *cursor) value(k kind, depth int) error {
	switch k {
	case structure:
		if err := c.structure(depth + 1); err != nil {
			return err
		}
		return c.nested(depth)
	case list, set:
		return c.elements(k, depth)
	case mapping:
		return c.pairs(depth)
	}
	return c.scalar(k, depth)
}

// nested writes the digest that was left in the next level into that of depth.
func (c *cursor) nested(depth int) error {
	c.d.scratch = c.d.level(depth + 1).Sum(c.d.scratch[:0])
	_, _ = c.d.level(depth).Write(c.d.scratch)
	return nil
}

func (c *cursor) scalar(k kind, depth int) error {
	from := c.at
	if err := c.pass(k, 1); err != nil {
		return err
	}
	b := c.b[from:c.at]
	if c.p == JSON {
		return c.scalarJSON(k, b, depth)
	}
	switch k {
	case text:
		_, n, _ := length(c.p, b)
		b = b[n:]
	case boolean:
		b = []byte{truth(b[0] != 0 && (c.p != Compact || b[0] == 1))}
	case i16, i32, i64:
		b = binary.BigEndian.AppendUint64(nil, uint64(integer(c.p, k, b)))
	case i8:
		b = binary.BigEndian.AppendUint64(nil, uint64(int8(b[0])))
	case double:
		if c.p == Compact {
			b = binary.BigEndian.AppendUint64(nil, binary.LittleEndian.Uint64(b))
		}
	}
	c.write(depth, k, b)
	return nil
}

// scalarJSON is scalar for what b spells.
func (c *cursor) scalarJSON(k kind, b []byte, depth int) error {
	if len(b) >= 2 && b[0] == '"' {
		b = appendUnescaped(nil, b[1:len(b)-1])
	}
	switch k {
	case text:
	case double:
		// "NaN" and "Infinity" parse, too.
		v, err := strconv.ParseFloat(string(b), 64)
		if err != nil {
			return Malformed("a number")
		}
		b = binary.BigEndian.AppendUint64(nil, math.Float64bits(v))
	case uuid:
		raw := bytes.ReplaceAll(b, []byte("-"), nil)
		b = make([]byte, 0, 16)
		for i := 0; i+1 < len(raw); i += 2 {
			b = append(b, byte(unhex(raw[i])<<4|unhex(raw[i+1])))
		}
	default:
		n, err := strconv.ParseInt(string(b), 10, 64)
		if err != nil {
			return Malformed("a number")
		}
		if b = binary.BigEndian.AppendUint64(nil, uint64(n)); k == boolean {
			b = []byte{truth(n != 0)}
		}
	}
	c.write(depth, k, b)
	return nil
}
