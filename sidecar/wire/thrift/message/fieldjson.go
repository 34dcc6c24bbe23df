// SPDX-License-Identifier: Apache-2.0

package message

import (
	"bytes"
	"strconv"
)

// memberJSON is member in `{"1":{"str":"x"},"2":{"rec":{…}}}`.
func (w *walker) memberJSON(id int16, last bool) (v Value, found bool, err error) {
	if err := w.expect(`{`); err != nil || w.peek() == '}' {
		return v, false, err
	}
	for {
		field, k, err := w.headJSON()
		if err != nil {
			return v, found, err
		}
		if field == id && found {
			return v, false, Malformed("a field comes twice")
		}
		from := w.at
		err = w.pass(k, 1)
		if field == id && (err == nil || err == ErrShort && !last) { //nolint:errorlint // never wrapped
			if last {
				v, found = valueJSON(k, w.b[from:w.at])
			} else if k == structure {
				v, found = Value{raw: w.rest(from, err)}, true
			}
		}
		if err == nil {
			err = w.expect(`}`)
		}
		if err != nil || w.peek() == '}' {
			return v, found, err
		}
		if err := w.expect(`,`); err != nil {
			return v, found, err
		}
	}
}

// headJSON reads `"1":{"str":`.
func (w *walker) headJSON() (id int16, k kind, err error) {
	if err := w.expect(`"`); err != nil {
		return 0, noKind, err
	}
	digits, err := w.quoted()
	if err != nil {
		return 0, noKind, err
	}
	n, perr := strconv.ParseInt(string(digits), 10, 16)
	if perr != nil || digits[0] == '+' || len(digits) > 1 && digits[0] == '0' {
		return 0, noKind, Malformed("the id of a field")
	}
	if err = w.expect(`:`); err != nil {
		return 0, noKind, err
	}
	k, err = w.typeJSON()
	return int16(n), k, err
}

// typeJSON reads `{"str":`.
func (w *walker) typeJSON() (kind, error) {
	if err := w.expect(`{"`); err != nil {
		return noKind, err
	}
	name, err := w.quoted()
	if err != nil {
		return noKind, err
	}
	k := jsonKind(name)
	if k == noKind {
		return noKind, Malformed("a type that there is not")
	}
	return k, w.expect(`:`)
}

// quoted reads what has no escapes up to a quote.
func (w *walker) quoted() ([]byte, error) {
	const longest = 8
	b := w.b[w.at:]
	end := bytes.IndexByte(b[:min(len(b), longest)], '"')
	if end < 0 {
		if len(b) >= longest {
			return nil, Malformed("a name that there is not")
		}
		return nil, ErrShort
	}
	w.at += end + 1
	return b[:end], nil
}

// expect passes s.
func (w *walker) expect(s string) error {
	b := w.b[w.at:]
	if len(b) < len(s) {
		return ErrShort
	}
	if string(b[:len(s)]) != s {
		return Malformed("a struct that is none")
	}
	w.at += len(s)
	return nil
}

// peek is the next byte, 0 when there is none.
func (w *walker) peek() byte {
	if w.at < len(w.b) {
		return w.b[w.at]
	}
	return 0
}

// valueJSON reads a value that b holds.
func valueJSON(k kind, b []byte) (v Value, ok bool) {
	v.kind = k
	switch k {
	case text, uuid:
		if len(b) < 2 || b[0] != '"' {
			return Value{}, false
		}
		v.raw = b[1 : len(b)-1]
		v.escaped = bytes.IndexByte(v.raw, '\\') >= 0
	case boolean, i8, i16, i32, i64:
		n, err := strconv.ParseInt(string(b), 10, 64)
		if err != nil {
			return Value{}, false
		}
		v.number = n
	default:
		return Value{}, false
	}
	return v, true
}
