// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bytes"
	"errors"

	"weir.dev/weir/sidecar/wire/http/rules"
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
		if colon <= 0 || !rules.IsToken(line[:colon]) {
			return errFieldName
		}
		if len(h.fields) == maxFields {
			return errTooManyFld
		}
		h.fields = append(h.fields, field{name: line[:colon], value: rules.Trim(line[colon+1:])})
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
		if len(f.name) != len(name) || f.drop || !rules.EqualFold(f.name, name) {
			continue
		}
		if count == 0 {
			value = f.value
		}
		count++
	}
	return value, count
}
