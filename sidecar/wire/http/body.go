// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"io"

	"github.com/valyala/fasthttp"
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
	// chunks reads chunk lines and trailers. That it is a request does not
	// matter: the coding is the same both ways.
	chunks *fasthttp.Request
}

func (b *body) start(br *bufio.Reader, f framing, length int64) error {
	b.br, b.framing, b.left = br, f, length
	b.ended = f == noBody || f == fixedLength && length == 0
	if f != chunked {
		return nil
	}
	if b.chunks == nil {
		b.chunks = &fasthttp.Request{}
	}
	b.chunks.Reset()
	b.chunks.Header.DisableNormalizing()
	b.chunks.Header.SetContentLength(-1)
	return b.chunks.ContinueReadBodyStream(br, 1, false)
}

func (b *body) release() {
	b.br = nil
	if b.framing == chunked && b.chunks != nil {
		b.chunks.Reset()
	}
	b.framing, b.ended = noBody, true
}

// Read returns io.EOF at the body's end and io.ErrUnexpectedEOF when the
// connection ended before it.
func (b *body) Read(p []byte) (n int, err error) {
	if b.ended {
		return 0, io.EOF
	}
	switch b.framing {
	case chunked:
		n, err = b.chunks.BodyStream().Read(p)
		if err == io.EOF {
			b.ended = true
		}
		return n, err
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

// inBuffer reports whether the rest of the body has been received, so that
// reading it cannot wait. A chunked body is never known to be.
func (b *body) inBuffer() bool {
	return b.ended || b.framing == fixedLength && b.left <= int64(b.br.Buffered())
}

// appendTrailers appends the trailer section with the empty line that ends it.
func (b *body) appendTrailers(dst []byte) []byte {
	if b.framing != chunked || b.chunks == nil {
		return append(dst, "\r\n"...)
	}
	return append(dst, b.chunks.Header.TrailerHeader()...)
}

func (b *body) hasTrailers() bool {
	if b.framing != chunked || b.chunks == nil {
		return false
	}
	for range b.chunks.Header.Trailers() {
		return true
	}
	return false
}
