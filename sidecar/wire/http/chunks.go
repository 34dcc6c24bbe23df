// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

var (
	errChunkLine   = errors.New("a chunk line does not end with CRLF, or is too long")
	errChunkSize   = errors.New("the size of a chunk is not a hexadecimal number, or too large")
	errChunkEnd    = errors.New("a chunk is not followed by CRLF")
	errChunkExcess = errors.New("the chunks have more extensions than data")
)

const (
	// maxChunkLine bounds a size with its extensions.
	maxChunkLine = 4096
	// maxChunkSize leaves room to count with.
	maxChunkSize = 1 << 62
	// maxExcess is how much more may be spent on chunk lines than 16 bytes for
	// each chunk and twice its data, as net/http has it.
	maxExcess = 16 << 10
)

// chunks reads a chunked body up to its last chunk, and takes exactly what
// net/http's reader takes. That one waits, in the middle of a chunk, until the
// caller's buffer is full: an event would not go on before the next.
type chunks struct {
	br *bufio.Reader
	// left of the chunk's data.
	left int64
	// ends: CRLF follows.
	ends bool
	// excess is how much was spent on chunk lines.
	excess int64
}

// Read returns io.EOF after the line of the last chunk. Once it has something it
// does not wait for more.
func (c *chunks) Read(p []byte) (n int, err error) {
	for {
		switch {
		case c.ends:
			if n > 0 && c.br.Buffered() < 2 {
				return n, nil
			}
			if err := c.end(); err != nil {
				return n, err
			}
		case c.left == 0:
			if n > 0 && !c.lineIsHere() {
				return n, nil
			}
			if err := c.begin(); err != nil {
				return n, err
			}
		case n == len(p) || n > 0 && c.br.Buffered() == 0:
			return n, nil
		default:
			q := p[n:]
			if int64(len(q)) > c.left {
				q = q[:c.left]
			}
			k, err := c.br.Read(q)
			n += k
			c.left -= int64(k)
			c.ends = c.left == 0
			if err != nil {
				return n, unexpected(err)
			}
		}
	}
}

func (c *chunks) lineIsHere() bool {
	b, _ := c.br.Peek(c.br.Buffered())
	return bytes.IndexByte(b, '\n') >= 0
}

// begin reads the line of a chunk.
func (c *chunks) begin() error {
	line, err := c.br.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return errChunkLine
	}
	if err != nil {
		return unexpected(err)
	}
	if i := bytes.IndexByte(line, '\r'); i < 0 || i != len(line)-2 || i >= maxChunkLine {
		return errChunkLine
	}
	line = line[:len(line)-2]
	c.excess += int64(len(line)) + 2
	line = bytes.TrimRight(line, " \t")
	if i := bytes.IndexByte(line, ';'); i >= 0 {
		line = line[:i]
	}
	if c.left, err = chunkSize(line); err != nil {
		return err
	}
	if c.excess = max(0, c.excess-16-2*min(c.left, maxExcess)); c.excess > maxExcess {
		return errChunkExcess
	}
	if c.left == 0 {
		return io.EOF
	}
	return nil
}

func chunkSize(b []byte) (n int64, err error) {
	if len(b) == 0 || len(b) > 16 {
		return 0, errChunkSize
	}
	for _, d := range b {
		switch {
		case '0' <= d && d <= '9':
			d -= '0'
		case 'a' <= d && d <= 'f':
			d -= 'a' - 10
		case 'A' <= d && d <= 'F':
			d -= 'A' - 10
		default:
			return 0, errChunkSize
		}
		if n >= maxChunkSize>>4 {
			return 0, errChunkSize
		}
		n = n<<4 | int64(d)
	}
	return n, nil
}

// end reads the CRLF after a chunk's data.
func (c *chunks) end() error {
	b, err := c.br.Peek(2)
	if err != nil && len(b) == 0 {
		return unexpected(err)
	}
	if b[0] != '\r' || len(b) > 1 && b[1] != '\n' {
		return errChunkEnd
	}
	if err != nil {
		return unexpected(err)
	}
	_, _ = c.br.Discard(2)
	c.ends = false
	return nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
