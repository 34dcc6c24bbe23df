// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bytes"
	"errors"
)

var (
	errBareLF     = errors.New("a line ends with LF without CR, or holds a CR inside")
	errObsFold    = errors.New("a header field is folded over several lines")
	errFieldName  = errors.New("a header field has no name, or a name with characters that are not allowed in one")
	errTooManyFld = errors.New("the head has more than 256 header fields")
	errNoLine     = errors.New("the head has no first line")
)

const maxFields = 256

// field is one line of a head, as sent; value is without surrounding white space.
type field struct {
	name, value []byte
	// drop: neither forwarded nor seen by filters.
	drop bool
}

// head is an index over the raw bytes of a message's head. It is strict where
// lenient parsers differ and leaves the rest to fasthttp's, which must accept the
// same bytes.
type head struct {
	raw    []byte
	line   []byte
	fields []field
}

// parse copies raw, which ends with the empty line, and indexes it.
func (h *head) parse(raw []byte) error {
	h.raw = append(h.raw[:0], raw...)
	h.fields = h.fields[:0]
	line, rest, err := cutLine(h.raw)
	if err != nil {
		return err
	}
	if len(line) == 0 {
		return errNoLine
	}
	h.line = line
	return h.index(rest)
}

// parseFields is parse for fields without a first line.
func (h *head) parseFields(raw []byte) error {
	h.raw = append(h.raw[:0], raw...)
	h.fields, h.line = h.fields[:0], nil
	return h.index(h.raw)
}

// index indexes the fields up to the empty line.
func (h *head) index(rest []byte) error {
	for {
		line, next, err := cutLine(rest)
		if err != nil {
			return err
		}
		rest = next
		if len(line) == 0 {
			return nil
		}
		if line[0] == ' ' || line[0] == '\t' {
			return errObsFold
		}
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 || !isToken(line[:colon]) {
			return errFieldName
		}
		if len(h.fields) == maxFields {
			return errTooManyFld
		}
		h.fields = append(h.fields, field{name: line[:colon], value: trim(line[colon+1:])})
	}
}

// cutLine cuts b after its first line, which must end with CRLF and hold no other
// CR.
func cutLine(b []byte) (line, rest []byte, err error) {
	n := bytes.IndexByte(b, '\n')
	if n < 1 || b[n-1] != '\r' {
		return nil, nil, errBareLF
	}
	line = b[:n-1]
	if bytes.IndexByte(line, '\r') >= 0 {
		return nil, nil, errBareLF
	}
	return line, b[n+1:], nil
}

// Header returns the first field of that name, which is lower case, and how many
// there are.
func (h *head) Header(name string) (value []byte, count int) {
	for i := range h.fields {
		f := &h.fields[i]
		if len(f.name) != len(name) || f.drop || !equalFold(f.name, name) {
			continue
		}
		if count == 0 {
			value = f.value
		}
		count++
	}
	return value, count
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// equalFold compares b with name, which is lower case, without ASCII case.
func equalFold(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i := 0; i < len(b); i++ {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != name[i] {
			return false
		}
	}
	return true
}

// hasPrefixFold is equalFold for the beginning of b.
func hasPrefixFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && equalFold(b[:len(prefix)], prefix)
}

// listHas reports whether the comma-separated list names the token, which is
// lower case.
func listHas(list []byte, token string) bool {
	for len(list) > 0 {
		item := list
		if n := bytes.IndexByte(list, ','); n >= 0 {
			item, list = list[:n], list[n+1:]
		} else {
			list = nil
		}
		if equalFold(trim(item), token) {
			return true
		}
	}
	return false
}

// sameName compares two field names without ASCII case.
func sameName(a, b []byte) bool {
	return len(a) == len(b) && bytes.EqualFold(a, b)
}

func isToken(b []byte) bool {
	for _, c := range b {
		if !tokenChars[c] {
			return false
		}
	}
	return len(b) > 0
}

// tokenChars are the characters of an RFC 9110 token.
var tokenChars = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()
