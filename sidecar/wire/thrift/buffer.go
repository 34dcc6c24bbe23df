// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"io"

	"weir.dev/weir/sidecar/wire/thrift/message"
)

const (
	maxFrame = message.MaxFrame
	// headSize is how long the envelope and the head of a message may be, and what is
	// read at once of messages without frame.
	headSize = 16 << 10
	// chunkSize is what is read at once of the rest of a frame.
	chunkSize = 64 << 10
	// maxKept is how much memory for whole messages is kept for the next.
	maxKept = 64 << 10
)

// buffer holds what was read and not yet used: b[r:w].
type buffer struct {
	b    [headSize]byte
	r, w int
}

func (b *buffer) bytes() []byte { return b.b[b.r:b.w] }
func (b *buffer) len() int      { return b.w - b.r }
func (b *buffer) reset()        { b.r, b.w = 0, 0 }

// full: there is no room for more.
func (b *buffer) full() bool { return b.w-b.r == len(b.b) }

// skip takes n bytes off.
func (b *buffer) skip(n int) {
	if b.r += n; b.r == b.w {
		b.reset()
	}
}

// fill reads once. What bytes returned before is no longer there.
func (b *buffer) fill(src io.Reader) error {
	if b.w == len(b.b) {
		b.w = copy(b.b[:], b.b[b.r:b.w])
		b.r = 0
	}
	n, err := src.Read(b.b[b.w:])
	b.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// flow is one message on its way: its beginning in a buffer, from there on in chunks.
type flow struct {
	form message.Form
	env  message.Envelope
	head message.Head
	scan message.Scanner
	// walked: its end is what scan finds; else it is that of the frame.
	walked bool
	// have is how many bytes of the buffer belong to the message and were passed.
	have int
	// left is how many bytes of the frame have not been read.
	left int64
	// done: all of it was read.
	done bool
	// size is how many bytes of it were passed so far.
	size int64
	// big holds what was read after the buffer; big[from:to] has not been passed.
	big      *[chunkSize]byte
	from, to int
}

// start begins with what b holds of the message, whose envelope and head were read.
func (f *flow) start(b []byte, walked bool) error {
	f.walked, f.from, f.to, f.done = walked, 0, 0, false
	if f.form.Transport != message.Unframed && len(b) > f.env.Length {
		b = b[:f.env.Length]
	}
	f.left = int64(f.env.Length - len(b))
	if !walked {
		f.have, f.done = len(b), f.left == 0
		f.size = int64(f.have)
		return nil
	}
	args := f.env.Message + f.head.Struct
	limit := int64(maxFrame - f.head.Struct)
	if f.form.Transport != message.Unframed {
		limit = int64(f.env.Length - args)
	}
	f.scan.Reset(f.head.Protocol, limit)
	n, err := f.pass(b[args:])
	f.have = args + n
	f.size = int64(f.have)
	return err
}

// pass walks over b, the next of the message.
func (f *flow) pass(b []byte) (n int, err error) {
	n, err = f.scan.Scan(b)
	if err != nil {
		return n, err
	}
	f.done = f.scan.Done()
	if f.form.Transport == message.Unframed {
		return n, nil
	}
	switch {
	case f.done && (n < len(b) || f.left > 0):
		return n, message.Malformed("bytes behind it in its frame")
	case !f.done && f.left == 0:
		return n, message.Malformed("it is longer than its frame")
	}
	return n, nil
}

// next reads from src and returns the next of the message, valid until the next call.
// buf is what the message began in.
func (f *flow) next(src io.Reader, buf *buffer) ([]byte, error) {
	if f.size == int64(f.have) && f.to == 0 {
		rest := buf.bytes()[f.have:]
		if f.form.Transport != message.Unframed {
			rest = rest[:min(len(rest), f.env.Length-f.have)]
		}
		f.to = copy(f.big[:], rest)
		f.from = 0
	}
	f.to = copy(f.big[:], f.big[f.from:f.to])
	f.from = 0
	room := f.big[f.to:headSize]
	if f.form.Transport != message.Unframed {
		room = f.big[f.to:]
		room = room[:min(int64(len(room)), f.left)]
	}
	n, err := src.Read(room)
	if n == 0 {
		if err == nil {
			err = io.ErrNoProgress
		}
		return nil, err
	}
	f.to += n
	if f.form.Transport != message.Unframed {
		f.left -= int64(n)
	}
	b := f.big[:f.to]
	n = len(b)
	if f.walked {
		if n, err = f.pass(b); err != nil {
			return nil, err
		}
	} else {
		f.done = f.left == 0
	}
	f.from = n
	f.size += int64(n)
	return b[:n], nil
}

// end takes the message off buf, and puts what was read beyond it there.
func (f *flow) end(buf *buffer) {
	if f.to == 0 {
		buf.skip(min(f.have, buf.len()))
		return
	}
	buf.reset()
	buf.w = copy(buf.b[:], f.big[f.from:f.to])
	f.from, f.to = 0, 0
}
