// SPDX-License-Identifier: Apache-2.0

package key

import (
	"bytes"

	"weir.dev/weir/sidecar/filter/match"
)

// maxValue bounds the decoded value of a query parameter or cookie that counts.
const maxValue = 4096

// appendQueryParam appends the decoded value of a query's parameter, nothing when it
// is missing or empty. It is doubtful, and nothing is appended, when applications
// may differ in which value they read, or whether they read one at all: when it
// comes twice, is written in another case, stands at a ';', has a broken escape, or
// is absurdly long.
func appendQueryParam(buf, query []byte, name string) (out []byte, doubtful bool) {
	n, seen := len(buf), 0
	buf = append(buf, byte(QueryParam), 0, 0, 0, 0)
	for before := byte('&'); len(query) > 0; {
		piece, after, rest := query, byte('&'), []byte(nil)
		if end := bytes.IndexAny(query, "&;"); end >= 0 {
			piece, after, rest = query[:end], query[end], query[end+1:]
		}
		raw, value, _ := cutEquals(piece)
		switch compareName(raw, name) {
		case sameName:
			if seen++; seen > 1 || before == ';' || after == ';' {
				return buf[:n], true
			}
			var ok bool
			if buf, ok = appendForm(buf, value); !ok {
				return buf[:n], true
			}
		case similarName:
			return buf[:n], true
		}
		query, before = rest, after
	}
	return closeValue(buf, n), false
}

func cutEquals(b []byte) (name, value []byte, found bool) {
	if i := bytes.IndexByte(b, '='); i >= 0 {
		return b[:i], b[i+1:], true
	}
	return b, nil, false
}

const (
	otherName = iota
	similarName
	sameName
)

// compareName compares a parameter's name, as sent, with name.
func compareName(raw []byte, name string) int {
	result, at := sameName, 0
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			d, ok := match.Decode(raw[i:])
			if !ok {
				return otherName
			}
			c = d
			i += 2
		}
		if at == len(name) {
			return otherName
		}
		if c != name[at] {
			if lower(c) != lower(name[at]) {
				return otherName
			}
			result = similarName
		}
		at++
	}
	if at < len(name) {
		return otherName
	}
	return result
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// appendForm decodes application/x-www-form-urlencoded. It is not ok when an escape
// is broken or the value too long.
func appendForm(buf, value []byte) (out []byte, ok bool) {
	from := len(buf)
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			d, good := match.Decode(value[i:])
			if !good {
				return buf, false
			}
			c = d
			i += 2
		}
		if len(buf)-from == maxValue {
			return buf, false
		}
		buf = append(buf, c)
	}
	return buf, true
}

// appendCookie appends a cookie's value, without quotes and with its escapes decoded
// where they are some, since many applications read it so; nothing when it is
// missing or empty. It is doubtful when it comes twice or is absurdly long.
func appendCookie(buf, cookies []byte, name string) (out []byte, doubtful bool) {
	n, seen := len(buf), 0
	buf = append(buf, byte(Cookie), 0, 0, 0, 0)
	for len(cookies) > 0 {
		pair, rest := cookies, []byte(nil)
		if end := bytes.IndexByte(cookies, ';'); end >= 0 {
			pair, rest = cookies[:end], cookies[end+1:]
		}
		cookies = rest
		raw, value, found := cutEquals(pair)
		if !found || string(bytes.Trim(raw, " \t")) != name {
			continue
		}
		value = bytes.Trim(value, " \t")
		if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		if seen++; seen > 1 || len(value) > maxValue {
			return buf[:n], true
		}
		buf = match.AppendDecoded(buf, value)
	}
	return closeValue(buf, n), false
}
