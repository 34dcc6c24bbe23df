// SPDX-License-Identifier: Apache-2.0

package message

import (
	"encoding/binary"
	"strconv"
)

// elements writes a list or set into the hash of depth.
func (c *cursor) elements(k kind, depth int) error {
	elem, _, count, err := c.container(false)
	if err != nil {
		return err
	}
	var sum total
	h := c.d.level(depth + 1)
	h.Reset()
	for range count {
		if k == set {
			h.Reset()
		}
		if err := c.closing(`,`); err != nil {
			return err
		}
		if err := c.value(elem, depth+1); err != nil {
			return err
		}
		if k == set {
			c.d.scratch = sum.add(h, c.d.scratch)
		}
	}
	if k == set {
		c.sum(k, depth+1, int(count), &sum)
	}
	if count == 0 {
		elem = stop
	}
	c.many(k, elem, stop, count, depth)
	if err := c.nested(depth); err != nil {
		return err
	}
	return c.closing(`]`)
}

// pairs writes a map into the hash of depth.
func (c *cursor) pairs(depth int) error {
	key, value, count, err := c.container(true)
	if err != nil {
		return err
	}
	var sum total
	if err := c.closing(`{`); err != nil {
		return err
	}
	for i := range count {
		h := c.d.level(depth + 1)
		h.Reset()
		if c.p == JSON && i > 0 {
			if err := c.expect(`,`); err != nil {
				return err
			}
		}
		if err := c.value(key, depth+1); err != nil {
			return err
		}
		if err := c.closing(`:`); err != nil {
			return err
		}
		if err := c.value(value, depth+1); err != nil {
			return err
		}
		c.d.scratch = sum.add(h, c.d.scratch)
	}
	c.sum(mapping, depth+1, int(count), &sum)
	if count == 0 {
		key, value = stop, stop
	}
	c.many(mapping, key, value, count, depth)
	if err := c.nested(depth); err != nil {
		return err
	}
	return c.closing(`}]`)
}

// many writes what a container is, before what is in it.
func (c *cursor) many(k, a, b kind, count int64, depth int) {
	head := binary.BigEndian.AppendUint64([]byte{byte(a), byte(b)}, uint64(count))
	c.write(depth, k, head)
}

// container reads what stands before elements or pairs.
func (c *cursor) container(pairs bool) (a, b kind, count int64, err error) {
	if c.p == JSON {
		return c.containerJSON(pairs)
	}
	n := 0
	if pairs {
		a, b, count, n, err = mapHead(c.p, c.b[c.at:])
	} else {
		a, count, n, err = listHead(c.p, c.b[c.at:])
	}
	c.at += n
	return a, b, count, err
}

// containerJSON reads `["i32",3` or `["str","i32",2,`.
func (c *cursor) containerJSON(pairs bool) (a, b kind, count int64, err error) {
	if err = c.expect(`[`); err != nil {
		return a, b, 0, err
	}
	if a, err = c.elemJSON(); err != nil {
		return a, b, 0, err
	}
	if pairs {
		if b, err = c.elemJSON(); err != nil {
			return a, b, 0, err
		}
	}
	from := c.at
	for c.at < len(c.b) && '0' <= c.b[c.at] && c.b[c.at] <= '9' {
		c.at++
	}
	count, err = strconv.ParseInt(string(c.b[from:c.at]), 10, 32)
	if err != nil {
		return a, b, 0, Malformed("a count")
	}
	if pairs {
		err = c.expect(`,`)
	}
	return a, b, count, err
}

// elemJSON reads `"i32",`.
func (c *cursor) elemJSON() (kind, error) {
	if err := c.expect(`"`); err != nil {
		return noKind, err
	}
	name, err := c.quoted()
	if err != nil {
		return noKind, err
	}
	k := jsonKind(name)
	if k == noKind {
		return k, Malformed("a type that there is not")
	}
	return k, c.expect(`,`)
}

// closing expects s in JSON.
func (c *cursor) closing(s string) error {
	if c.p != JSON {
		return nil
	}
	return c.expect(s)
}
