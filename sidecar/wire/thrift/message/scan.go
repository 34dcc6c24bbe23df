// SPDX-License-Identifier: Apache-2.0

package message

import "encoding/binary"

// Scanner finds the end of a struct, or of another value, in bytes that come in pieces
// of any size. It checks every length and count against what may still come, and
// refuses what readers understand differently. Its memory is its own; the zero value
// is ready for Reset.
type Scanner struct {
	protocol Protocol
	// limit is how many bytes may still come.
	limit int64
	// skip is how many of them belong to the value that is being passed.
	skip  int64
	depth int
	stack [MaxDepth]level
	done  bool
	json  jsonScanner
}

// level is a struct or a container around what is being read.
type level struct {
	// a and b are the kinds of elements: of the next one and of the one after it,
	// which differ in maps only. stop: it is a struct.
	a, b kind
	// last is the id of the last field of a struct.
	last int16
	// left is how many elements are to come, keys and values counted.
	left int64
	// seen has a bit for each field below 64.
	seen uint64
}

// Reset makes s begin with a message's struct, of which, with what ends the message, at
// most limit bytes come.
func (s *Scanner) Reset(p Protocol, limit int64) {
	s.protocol, s.limit, s.skip, s.done = p, limit, 0, false
	if p == JSON {
		s.json.reset(true)
		return
	}
	s.stack[0] = level{}
	s.depth = 1
}

// value makes s begin with a value of k, in a struct that lies at depth.
func (s *Scanner) value(p Protocol, k kind, depth int, limit int64) {
	s.protocol, s.limit, s.skip, s.done = p, limit, 0, false
	if p == JSON {
		s.json.reset(false)
		return
	}
	s.depth = min(max(depth, 1), MaxDepth)
	for i := range s.depth - 1 {
		s.stack[i] = level{a: boolean, b: boolean} // With nothing left in it.
	}
	// A list of one takes the place of the struct.
	s.stack[s.depth-1] = level{a: k, b: k, left: 1}
}

// Done reports whether all was read.
func (s *Scanner) Done() bool { return s.done }

// Scan goes on with b and returns how many bytes of it are passed. What is left of b
// when it is not done, at most 11 bytes, is to come again with more behind it. An
// error is Malformed.
func (s *Scanner) Scan(b []byte) (n int, err error) {
	if s.done {
		return 0, nil
	}
	if s.protocol == JSON {
		n, s.done, err = s.json.scan(b)
		if s.limit -= int64(n); s.limit < 0 || s.limit == 0 && !s.done && err == nil {
			err = Malformed("it is longer than it may be")
		}
		return n, err
	}
	for {
		if s.skip > 0 {
			k := min(s.skip, int64(len(b)-n))
			n += int(k)
			s.skip -= k
			if s.skip > 0 {
				return n, nil
			}
		}
		for s.depth > 0 && s.stack[s.depth-1].a != stop && s.stack[s.depth-1].left == 0 {
			s.depth--
		}
		if s.depth == 0 {
			s.done = true
			return n, nil
		}
		k, err := s.step(b[n:])
		if err == ErrShort { //nolint:errorlint // it is never wrapped here, and this is the inner loop
			if s.limit <= int64(len(b)-n) {
				return n, Malformed("it is longer than it may be")
			}
			return n, nil
		}
		if err != nil {
			return n, err
		}
		n += k
	}
}

// take accounts for n bytes of a token and skip bytes after it.
func (s *Scanner) take(n int, skip int64) (int, error) {
	if skip < 0 || int64(n) > s.limit || skip > s.limit-int64(n) {
		return 0, Malformed("a length of more than there is")
	}
	s.limit -= int64(n) + skip
	s.skip = skip
	return n, nil
}

// step reads one token: the head of a field or the beginning of an element.
func (s *Scanner) step(b []byte) (int, error) {
	l := &s.stack[s.depth-1]
	if l.a == stop {
		if s.protocol == Compact {
			return s.compactField(l, b)
		}
		return s.binaryField(l, b)
	}
	k := l.a
	if size := k.fixed(s.protocol); size > 0 && l.a == l.b {
		// All of them at once.
		left := l.left
		l.left = 0
		return s.take(0, left*int64(size))
	}
	n, err := s.begin(k, b, 0)
	if err != nil {
		return 0, err
	}
	l.left--
	l.a, l.b = l.b, l.a
	return n, nil
}

// field notes the id of a field that comes.
func (l *level) field(id int16) error {
	if uint16(id) < 64 {
		bit := uint64(1) << uint16(id)
		if l.seen&bit != 0 {
			return Malformed("a field comes twice")
		}
		l.seen |= bit
	}
	l.last = id
	return nil
}

func (s *Scanner) binaryField(l *level, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, ErrShort
	}
	if b[0] == 0 {
		s.depth--
		return s.take(1, 0)
	}
	k := binaryKind(b[0])
	if k == noKind {
		return 0, Malformed("a type that there is not")
	}
	if len(b) < 3 {
		return 0, ErrShort
	}
	before := *l
	if err := l.field(int16(binary.BigEndian.Uint16(b[1:]))); err != nil {
		return 0, err
	}
	n, err := s.begin(k, b[3:], 3)
	if err != nil {
		*l = before
	}
	return n, err
}

func (s *Scanner) compactField(l *level, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, ErrShort
	}
	if b[0] == 0 {
		s.depth--
		return s.take(1, 0)
	}
	id, n, err := compactFieldID(b, l.last)
	if err != nil {
		return 0, err
	}
	k := compactKind(b[0] & 0x0f)
	before := *l
	if err := l.field(id); err != nil {
		return 0, err
	}
	if k == boolean { // The value is in the type.
		return s.take(n, 0)
	}
	n, err = s.begin(k, b[n:], n)
	if err != nil {
		*l = before
	}
	return n, err
}

// compactFieldID reads the head of a field that is no stop.
func compactFieldID(b []byte, last int16) (id int16, n int, err error) {
	if compactKind(b[0]&0x0f) == noKind {
		return 0, 0, Malformed("a type that there is not")
	}
	next := int64(last)
	n = 1
	if delta := b[0] >> 4; delta > 0 {
		next += int64(delta)
	} else {
		v, k, err := uvarint32(b[1:])
		if err != nil {
			return 0, 0, err
		}
		next = zigzag(uint64(v))
		n += k
	}
	if next != int64(int16(next)) {
		return 0, 0, Malformed("the id of a field")
	}
	return int16(next), n, nil
}

// begin reads the beginning of a value of k from b, which comes after used bytes of the
// same token.
func (s *Scanner) begin(k kind, b []byte, used int) (int, error) {
	if size := k.fixed(s.protocol); size > 0 {
		return s.take(used, int64(size))
	}
	switch k {
	case structure:
		return s.push(level{}, used)
	case text:
		size, n, err := length(s.protocol, b)
		if err != nil {
			return 0, err
		}
		return s.take(used+n, size)
	case list, set:
		elem, count, n, err := listHead(s.protocol, b)
		if err != nil {
			return 0, err
		}
		return s.container(elem, elem, count, 1, used+n)
	case mapping:
		key, value, count, n, err := mapHead(s.protocol, b)
		if err != nil {
			return 0, err
		}
		return s.container(key, value, count, 2, used+n)
	}
	// Integers of the compact protocol.
	if k == i64 {
		_, n, err := uvarint64(b)
		if err != nil {
			return 0, err
		}
		return s.take(used+n, 0)
	}
	_, n, err := uvarint32(b)
	if err != nil {
		return 0, err
	}
	return s.take(used+n, 0)
}

func (s *Scanner) push(l level, used int) (int, error) {
	if s.depth == MaxDepth {
		return 0, Malformed("structs and containers in each other, deeper than they may be")
	}
	n, err := s.take(used, 0)
	if err != nil {
		return 0, err
	}
	s.stack[s.depth] = l
	s.depth++
	return n, nil
}

// container begins one of count elements of a, or with per 2 of pairs of a and b.
func (s *Scanner) container(a, b kind, count, per int64, used int) (int, error) {
	if count == 0 {
		return s.take(used, 0)
	}
	if a == noKind || b == noKind {
		return 0, Malformed("a type that there is not")
	}
	least := int64(a.least(s.protocol))
	if per == 2 {
		least += int64(b.least(s.protocol))
	}
	if int64(used) > s.limit || count > (s.limit-int64(used))/least {
		return 0, Malformed("a container of more than there is")
	}
	return s.push(level{a: a, b: b, left: count * per}, used)
}

// length reads the length of a string.
func length(p Protocol, b []byte) (size int64, n int, err error) {
	if p == Compact {
		v, n, err := uvarint32(b)
		return int64(v), n, err
	}
	if len(b) < 4 {
		return 0, 0, ErrShort
	}
	// Negative ones are refused by take.
	return int64(int32(binary.BigEndian.Uint32(b))), 4, nil
}

// listHead reads what stands before the elements of a list or set.
func listHead(p Protocol, b []byte) (elem kind, count int64, n int, err error) {
	if p != Compact {
		if len(b) < 5 {
			return 0, 0, 0, ErrShort
		}
		count = int64(int32(binary.BigEndian.Uint32(b[1:])))
		if count < 0 {
			return 0, 0, 0, Malformed("a negative count")
		}
		return binaryKind(b[0]), count, 5, nil
	}
	if len(b) < 1 {
		return 0, 0, 0, ErrShort
	}
	count, n = int64(b[0]>>4), 1
	if count == 15 {
		v, k, err := uvarint32(b[1:])
		if err != nil {
			return 0, 0, 0, err
		}
		count, n = int64(v), 1+k
	}
	return compactKind(b[0] & 0x0f), count, n, nil
}

// mapHead reads what stands before the pairs of a map.
func mapHead(p Protocol, b []byte) (key, value kind, count int64, n int, err error) {
	if p != Compact {
		if len(b) < 6 {
			return 0, 0, 0, 0, ErrShort
		}
		count = int64(int32(binary.BigEndian.Uint32(b[2:])))
		if count < 0 {
			return 0, 0, 0, 0, Malformed("a negative count")
		}
		return binaryKind(b[0]), binaryKind(b[1]), count, 6, nil
	}
	v, n, err := uvarint32(b)
	if err != nil || v == 0 {
		return 0, 0, 0, n, err
	}
	if len(b) < n+1 {
		return 0, 0, 0, 0, ErrShort
	}
	return compactKind(b[n] >> 4), compactKind(b[n] & 0x0f), int64(v), n + 1, nil
}
