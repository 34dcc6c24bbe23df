// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"errors"
	"io"

	"weir.dev/weir/sidecar/wire/http/rules"
)

var (
	errTrailerValue = errors.New("a trailer field holds a control character")
	errTrailerName  = errors.New("a field is among the trailers that may only be in the head")
)

// trailers are the fields after a chunked body. They are held to what heads are
// held to: a server before us that takes a line of them for another line than we
// do would see other requests on the connection.
type trailers struct {
	// section is what is forwarded, without the empty line.
	section []byte
	head    head
}

func (t *trailers) reset() { t.section = t.section[:0] }

// trailersIn reports whether the whole section is in br.
func trailersIn(br *bufio.Reader) bool {
	b, _ := br.Peek(br.Buffered())
	return emptyLine(b) || headLen(b, 0) > 0
}

func emptyLine(b []byte) bool { return len(b) >= 2 && b[0] == '\r' && b[1] == '\n' }

// read takes the section off br. It is bounded by br's size.
func (t *trailers) read(br *bufio.Reader) error {
	seen := 0
	for {
		if _, err := br.Peek(seen + 1); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		b, _ := br.Peek(br.Buffered())
		if emptyLine(b) {
			_, err := br.Discard(2)
			return err
		}
		if n := headLen(b, seen); n > 0 {
			if err := t.parse(b[:n]); err != nil {
				return err
			}
			_, err := br.Discard(n)
			return err
		}
		seen = len(b)
	}
}

func (t *trailers) parse(raw []byte) error {
	if err := t.head.parseFields(raw); err != nil {
		return err
	}
	for i := range t.head.fields {
		f := &t.head.fields[i]
		for _, c := range f.value {
			if c < ' ' && c != '\t' || c == 0x7F {
				return errTrailerValue
			}
		}
		if rules.HeadOnly(f.name) {
			return errTrailerName
		}
		t.section = appendField(t.section, f)
	}
	return nil
}
