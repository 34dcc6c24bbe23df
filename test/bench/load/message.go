// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bytes"
	"fmt"
	"net/url"
	"strconv"
)

// bytesOf is the request on the wire, and where it goes. The number of its key is 0,
// and lies at keyAt; 0: it has none.
func (r Request) bytesOf() (address string, message []byte, keyAt int, err error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return "", nil, 0, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", r.Method, u.RequestURI(), u.Host, r.Header)
	if r.Key.Name != "" {
		fmt.Fprintf(&b, "%s: %s", r.Key.Name, r.Key.Prefix)
		keyAt = b.Len()
		fmt.Fprintf(&b, "%0*d\r\n", keyDigits, 0)
	}
	text := r.text()
	if r.Text != "" {
		b.WriteString("Content-Type: application/json\r\n")
	}
	if text != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(text))
	}
	b.WriteString("\r\n" + text)
	return u.Host, b.Bytes(), keyAt, nil
}

// putNumber writes the number of a key.
func putNumber(b []byte, n int64) {
	for i := keyDigits - 1; i >= 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
}

// response reads one response after the other, of which it keeps nothing but the
// head that is not whole yet.
type response struct {
	head   []byte
	left   int
	inBody bool
	status int
}

// maxHead bounds a head; a server that sends more is broken.
const maxHead = 16 << 10

// feed takes bytes of a connection with one request under way and reports whether
// its response is whole.
func (r *response) feed(b []byte) (done bool, err error) {
	if !r.inBody {
		r.head = append(r.head, b...)
		end := bytes.Index(r.head, []byte("\r\n\r\n"))
		if end < 0 {
			if len(r.head) > maxHead {
				return false, fmt.Errorf("a head of more than %d bytes", maxHead)
			}
			return false, nil
		}
		if r.status, r.left, err = parseHead(r.head[:end+2]); err != nil {
			return false, err
		}
		b = r.head[end+4:]
		r.inBody = true
	}
	r.left -= len(b)
	if r.left > 0 {
		return false, nil
	}
	if r.left < 0 {
		return false, fmt.Errorf("%d bytes after a response", -r.left)
	}
	r.inBody, r.head = false, r.head[:0]
	return true, nil
}

// parseHead returns status and Content-Length of a head whose lines end with CRLF.
func parseHead(head []byte) (status, length int, err error) {
	line, fields, _ := bytes.Cut(head, []byte("\r\n"))
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return 0, 0, fmt.Errorf("no status line: %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, 0, fmt.Errorf("no status line: %q", line)
	}
	for len(fields) > 0 {
		line, fields, _ = bytes.Cut(fields, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		if !bytes.EqualFold(name, []byte("content-length")) {
			continue
		}
		length, err = strconv.Atoi(string(bytes.TrimSpace(value)))
		return status, length, err
	}
	return 0, 0, fmt.Errorf("a response without Content-Length: %q", head)
}
