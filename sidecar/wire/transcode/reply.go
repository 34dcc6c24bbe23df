// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"strconv"
)

// object writes a struct as a JSON object. With a route it is the result, of which some
// fields go elsewhere.
func (d *decoder) object(s *structure, to *Response) error {
	if err := d.nest(); err != nil {
		return err
	}
	d.out = append(d.out, '{')
	var seen bits
	var last int16
	first := true
	for {
		wire, id, err := d.field(last)
		if err != nil {
			return err
		}
		if wire == wireStop {
			break
		}
		last = id
		f := s.byID(id)
		// What the IDL does not know, or knows as something else, generated code skips too.
		if f == nil || f.typ.wire != wire {
			if err := d.skip(wire); err != nil {
				return err
			}
			continue
		}
		if seen.has(f.index) {
			return under(bad("is there twice"), f.name)
		}
		seen.set(f.index)
		if f.hidden || to != nil && to.route.hidden.has(f.index) {
			err = d.elsewhere(f, to)
		} else {
			d.name(f, &first)
			err = d.value(f.typ)
		}
		if err != nil {
			return under(err, f.name)
		}
	}
	for _, f := range s.must {
		if seen.has(f.index) {
			continue
		}
		if f.required {
			return under(bad("is required and not there"), f.name)
		}
		if len(f.defaultJSON) > 0 && !f.hidden && (to == nil || !to.route.hidden.has(f.index)) {
			d.name(f, &first)
			d.out = append(d.out, f.defaultJSON...)
		}
	}
	d.out = append(d.out, '}')
	d.depth--
	return d.room()
}

func (d *decoder) name(f *field, first *bool) {
	if !*first {
		d.out = append(d.out, ',')
	}
	*first = false
	d.out = append(d.out, f.key...)
	d.out = append(d.out, ':')
}

func (d *decoder) nest() error {
	if d.depth++; d.depth > MaxDepth {
		return errDeepReply
	}
	return nil
}

func (d *decoder) listJSON(t *typ) error {
	if err := d.nest(); err != nil {
		return err
	}
	element, n, err := d.list()
	if err != nil {
		return err
	}
	if n > 0 && element != t.element.wire {
		return bad("has elements of another type than the IDL says")
	}
	d.out = append(d.out, '[')
	for i := range n {
		if i > 0 {
			d.out = append(d.out, ',')
		}
		if err := d.value(t.element); err != nil {
			return underIndex(err, i)
		}
	}
	d.out = append(d.out, ']')
	d.depth--
	return d.room()
}

func (d *decoder) mapJSON(t *typ) error {
	if err := d.nest(); err != nil {
		return err
	}
	key, value, n, err := d.mapping()
	if err != nil {
		return err
	}
	if n > 0 && (key != t.key.wire || value != t.element.wire) {
		return bad("has keys or values of another type than the IDL says")
	}
	open, end := byte('{'), byte('}')
	if !t.key.scalar() {
		open, end = '[', ']'
	}
	d.out = append(d.out, open)
	for i := range n {
		if i > 0 {
			d.out = append(d.out, ',')
		}
		if err := d.entry(t); err != nil {
			return underIndex(err, i)
		}
	}
	d.out = append(d.out, end)
	d.depth--
	return d.room()
}

// entry writes a member of an object, or of an array of pairs.
func (d *decoder) entry(t *typ) error {
	if t.key.kind == kindString {
		if err := d.value(t.key); err != nil {
			return err
		}
		d.out = append(d.out, ':')
		return d.value(t.element)
	}
	if t.key.scalar() {
		d.out = append(d.out, '"')
		if err := d.scalar(t.key); err != nil {
			return err
		}
		d.out = append(d.out, '"', ':')
		return d.value(t.element)
	}
	d.out = append(d.out, `{"key":`...)
	if err := d.value(t.key); err != nil {
		return err
	}
	d.out = append(d.out, `,"value":`...)
	if err := d.value(t.element); err != nil {
		return err
	}
	d.out = append(d.out, '}')
	return nil
}

// elsewhere takes a field of the result out of the body.
func (d *decoder) elsewhere(f *field, to *Response) error {
	if to == nil || f.hidden && !to.route.hidden.has(f.index) {
		return d.skip(f.typ.wire)
	}
	return to.take(d, f)
}

// integerText is an integer of the reply as text.
func integerText(v int64) []byte { return strconv.AppendInt(nil, v, 10) }
