// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"errors"
	"io"
)

type framing uint8

const (
	noBody framing = iota
	fixedLength
	chunked
	untilClose
)

// body reads a message's body from a connection's buffer.
type body struct {
	framing framing
	// left of a fixed length.
	left int64
	// ended: the last byte of the body, and of its trailers, was read.
	ended bool
	br    *bufio.Reader
	// chunks reads chunks, up to the last.
	chunks chunks
	// tail: only the trailer section is left.
	tail bool
	// size is how much of the body was read.
	size     int64
	trailers trailers
}

func (b *body) start(br *bufio.Reader, f framing, length int64) {
	b.br, b.framing, b.left, b.tail, b.size = br, f, length, false, 0
	b.ended = f == noBody || f == fixedLength && length == 0
	b.trailers.reset()
	if f == chunked {
		b.chunks = chunks{br: br}
	}
}

func (b *body) release() {
	b.br, b.chunks.br = nil, nil
	b.framing, b.ended = noBody, true
}

// Read returns io.EOF at the body's end and io.ErrUnexpectedEOF when the
// connection ended before it.
func (b *body) Read(p []byte) (n int, err error) {
	if b.ended {
		return 0, io.EOF
	}
	n, err = b.read(p)
	b.size += int64(n)
	return n, err
}

func (b *body) read(p []byte) (n int, err error) {
	switch b.framing {
	case chunked:
		return b.readChunked(p)
	case fixedLength:
		if int64(len(p)) > b.left {
			p = p[:b.left]
		}
		n, err = b.br.Read(p)
		b.left -= int64(n)
		if b.left == 0 {
			b.ended = true
			return n, nil
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return n, err
	default:
		n, err = b.br.Read(p)
		if err == io.EOF {
			b.ended = true
		}
		return n, err
	}
}

// skip says that n bytes were taken off the buffer.
func (b *body) skip(n int) {
	b.left -= int64(n)
	b.size += int64(n)
	b.ended = b.left == 0
}

// inBuffer reports whether the rest of the body has been received, so that
// reading it cannot wait. A chunked body is never known to be.
func (b *body) inBuffer() bool {
	return b.ended || b.framing == fixedLength && b.left <= int64(b.br.Buffered())
}

func (b *body) readChunked(p []byte) (n int, err error) {
	if !b.tail {
		if n, err = b.chunks.Read(p); !errors.Is(err, io.EOF) {
			return n, err
		}
		b.tail = true
		if n > 0 && !trailersIn(b.br) {
			// What has come does not wait for what has not.
			return n, nil
		}
	}
	if err := b.trailers.read(b.br); err != nil {
		return n, err
	}
	b.ended = true
	return n, io.EOF
}

// appendTrailers appends the trailer section with the empty line that ends it.
func (b *body) appendTrailers(dst []byte) []byte {
	if b.framing == chunked {
		dst = append(dst, b.trailers.section...)
	}
	return append(dst, "\r\n"...)
}

func (b *body) hasTrailers() bool {
	return b.framing == chunked && len(b.trailers.section) > 0
}
