// SPDX-License-Identifier: Apache-2.0

package tap

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
)

// maxElement bounds one element of a Redis message.
const maxElement = 64 << 20

// readMessage reads one whole message of RESP2 or RESP3, a command or a reply, and
// returns its bytes and, of an array of strings, the strings
// (https://redis.io/docs/latest/develop/reference/protocol-spec/).
func readMessage(r *bufio.Reader) (raw []byte, words [][]byte, err error) {
	var b bytes.Buffer
	words, err = readElement(r, &b, true)
	return b.Bytes(), words, err
}

func readElement(r *bufio.Reader, out *bytes.Buffer, top bool) (words [][]byte, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	out.Write(line)
	if len(line) < 3 {
		return nil, fmt.Errorf("malformed message %q", line)
	}
	kind := line[0]
	switch kind {
	case '+', '-', ':', '_', '#', ',', '(':
		return nil, nil
	}
	n, err := strconv.Atoi(string(bytes.TrimRight(line[1:], "\r\n")))
	if err != nil || n > maxElement {
		return nil, fmt.Errorf("malformed message %q", line)
	}
	switch kind {
	case '$', '!', '=':
		if n < 0 {
			return nil, nil
		}
		at := out.Len()
		if _, err := io.CopyN(out, r, int64(n)+2); err != nil {
			return nil, err
		}
		return [][]byte{out.Bytes()[at : at+n]}, nil
	case '%', '|':
		n *= 2
	case '*', '~', '>':
	default:
		return nil, fmt.Errorf("malformed message %q", line)
	}
	for range max(n, 0) {
		w, err := readElement(r, out, false)
		if err != nil {
			return nil, err
		}
		if top && len(w) == 1 {
			// The buffer may move when it grows.
			words = append(words, bytes.Clone(w[0]))
		}
	}
	if kind == '|' {
		// An attribute precedes the reply that it is about.
		return readElement(r, out, top)
	}
	return words, nil
}
