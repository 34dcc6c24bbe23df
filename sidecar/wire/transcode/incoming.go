// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"bytes"
	"errors"
	"strconv"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

// errRequest cannot be: a leg wrote it.
var errRequest = errors.New("the request is not HTTP/1.1")

// incoming is a request of HTTP/1.1 as a leg writes it, which has refused what clients
// do otherwise.
type incoming struct {
	head   []byte
	body   []byte
	headed bool
	// unfinished: it is not whole.
	unfinished bool
	expects    bool

	method, path, query []byte
	fields              headFields

	// left of a body with a length.
	left    int64
	chunked bool
	chunks  chunks
}

// headFields are those of a head.
type headFields []exchange.Field

// Header implements exchange.Headers.
func (h headFields) Header(name string) (value []byte, n int) {
	for i := range h {
		if rules.EqualFold(h[i].Name, name) {
			if n++; n == 1 {
				value = h[i].Value
			}
		}
	}
	return value, n
}

func (r *incoming) begun() bool { return len(r.head) > 0 }

func (r *incoming) reset() {
	*r = incoming{head: kept(r.head), body: kept(r.body), fields: r.fields[:0]}
}

// add takes what comes next, and reports whether the request is whole.
func (r *incoming) add(p []byte) (whole bool, err error) {
	r.unfinished = true
	if !r.headed {
		had := len(r.head)
		r.head = append(r.head, p...)
		end := bytes.Index(r.head, []byte("\r\n\r\n"))
		if end < 0 {
			return false, nil
		}
		p = p[end+4-had:]
		r.head = r.head[:end+2]
		if err := r.parse(); err != nil {
			return false, err
		}
	}
	if r.chunked {
		if r.body, whole, err = r.chunks.add(r.body, p); err != nil {
			return false, err
		}
	} else {
		n := min(r.left, int64(len(p)))
		r.body = append(r.body, p[:n]...)
		r.left -= n
		whole = r.left == 0
	}
	r.unfinished = !whole
	return whole, nil
}

func (r *incoming) parse() error {
	r.headed = true
	line, rest, _ := bytes.Cut(r.head, []byte("\r\n"))
	method, uri, ok := bytes.Cut(line, []byte(" "))
	uri, _, version := bytes.Cut(uri, []byte(" "))
	if !ok || !version {
		return errRequest
	}
	if at := bytes.Index(uri, []byte("://")); at > 0 && uri[0] != '/' {
		// The absolute form.
		uri = uri[at+3:]
		uri = uri[max(bytes.IndexByte(uri, '/'), 0):]
	}
	r.method = method
	r.path, r.query, _ = bytes.Cut(uri, []byte("?"))
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return errRequest
		}
		r.fields = append(r.fields, exchange.Field{Name: name, Value: bytes.TrimSpace(value)})
	}
	if value, n := r.fields.Header("content-length"); n > 0 {
		var err error
		if r.left, err = strconv.ParseInt(string(value), 10, 64); err != nil || r.left < 0 {
			return errRequest
		}
	}
	_, n := r.fields.Header("transfer-encoding")
	r.chunked = n > 0
	_, n = r.fields.Header("expect")
	r.expects = n > 0
	return nil
}

// chunks reads a body in chunks.
type chunks struct {
	// line is what has come of a line: a size, a trailer field or what ends a chunk.
	line []byte
	left int64
	// data: left bytes of a chunk follow. ended: only trailers do, which nobody needs.
	data, ended bool
}

// maxLine bounds the lines between chunks.
const maxLine = 64 << 10

func (c *chunks) add(dst, p []byte) (_ []byte, whole bool, err error) {
	for len(p) > 0 {
		if c.data {
			n := min(c.left, int64(len(p)))
			dst = append(dst, p[:n]...)
			p = p[n:]
			if c.left -= n; c.left > 0 {
				return dst, false, nil
			}
			c.data = false
			continue
		}
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			c.line = append(c.line, p...)
			if len(c.line) > maxLine {
				return dst, false, errRequest
			}
			return dst, false, nil
		}
		c.line = bytes.TrimSuffix(append(c.line, p[:end]...), []byte("\r"))
		p = p[end+1:]
		line := c.line
		c.line = c.line[:0]
		switch {
		case c.ended && len(line) == 0:
			return dst, true, nil
		case c.ended || len(line) == 0:
			// A trailer field, or the end of a chunk.
		default:
			size, _, _ := bytes.Cut(line, []byte(";"))
			if c.left, err = strconv.ParseInt(string(size), 16, 64); err != nil || c.left < 0 {
				return dst, false, errRequest
			}
			c.data, c.ended = c.left > 0, c.left == 0
		}
	}
	return dst, false, nil
}
