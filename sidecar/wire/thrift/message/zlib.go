// SPDX-License-Identifier: Apache-2.0

package message

import (
	"bytes"
	"compress/zlib"
	"errors"
	"io"
)

// Inflater decompresses messages. Its memory is used again; the zero value is ready.
type Inflater struct {
	src bytes.Reader
	r   io.ReadCloser
}

// inflateChunk is how much room is made at once.
const inflateChunk = 4 << 10

// Inflate appends to dst what b, the end of a frame, was before it was compressed: all
// of it, or, where b is only what has come, ErrShort and as much as that gives. More
// than limit bytes are Malformed, and no memory is set aside for what has not come out.
func (z *Inflater) Inflate(dst, b []byte, limit int) ([]byte, error) {
	err := z.reset(b)
	start := len(dst)
	for err == nil {
		if len(dst)-start > limit {
			return dst[:start], Malformed("it is longer than it may be")
		}
		if cap(dst)-len(dst) < inflateChunk {
			dst = append(make([]byte, 0, max(2*cap(dst), len(dst)+inflateChunk)), dst...)
		}
		var n int
		n, err = z.r.Read(dst[len(dst):min(cap(dst), start+limit+1)])
		dst = dst[:len(dst)+n]
	}
	switch {
	case len(dst)-start > limit:
		return dst[:start], Malformed("it is longer than it may be")
	case err == io.EOF: //nolint:errorlint // an io.Reader's
		if z.src.Len() > 0 {
			return dst, Malformed("bytes behind what is compressed")
		}
		return dst, nil
	case errors.Is(err, io.ErrUnexpectedEOF), len(b) == 0:
		return dst, ErrShort
	}
	return dst, Malformed("it cannot be decompressed")
}

// Prefix is Inflate for no more than the first n bytes that come out, as far as they
// have come.
func (z *Inflater) Prefix(dst, b []byte, n int) ([]byte, error) {
	err := z.reset(b)
	start := len(dst)
	if cap(dst)-start < n {
		dst = append(make([]byte, 0, start+n), dst...)
	}
	for err == nil && len(dst) < start+n {
		var k int
		k, err = z.r.Read(dst[len(dst) : start+n])
		dst = dst[:len(dst)+k]
	}
	switch {
	case err == nil, err == io.EOF, len(dst) > start: //nolint:errorlint // an io.Reader's
		return dst, nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return dst, ErrShort
	}
	return dst, Malformed("it cannot be decompressed")
}

func (z *Inflater) reset(b []byte) (err error) {
	z.src.Reset(b)
	if z.r == nil {
		z.r, err = zlib.NewReader(&z.src)
		return err
	}
	return z.r.(zlib.Resetter).Reset(&z.src, nil)
}
