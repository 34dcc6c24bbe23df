// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"errors"
	"fmt"
	"io"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/wire/thrift/message"
)

// Conn sends calls to an application, one at a time. Deadlines are its owner's to set.
type Conn struct {
	rw        io.ReadWriter
	transport message.Transport
	protocol  Protocol
	limit     int

	out, in  []byte
	read     int
	envelope message.Envelope
	scanner  message.Scanner
	inflater message.Inflater
	inflated []byte
}

// NewConn is for calls in a transport and a protocol. limit bounds replies; 0:
// message.MaxFrame.
func NewConn(rw io.ReadWriter, t snapshot.ThriftTransport, p Protocol, limit int) *Conn {
	c := &Conn{rw: rw, transport: message.Framed, protocol: p, limit: limit}
	switch t {
	case snapshot.ThriftTransport_THRIFT_TRANSPORT_BUFFERED:
		c.transport = message.Unframed
	case snapshot.ThriftTransport_THRIFT_TRANSPORT_HEADER:
		c.transport = message.Header
	}
	if c.limit <= 0 || c.limit > message.MaxFrame {
		c.limit = message.MaxFrame
	}
	return c
}

// Send writes a call. sent is false where no byte of it can have left.
func (c *Conn) Send(call []byte, seq int32) (sent bool, err error) {
	e := message.Envelope{Transport: c.transport, Protocol: c.protocol.wire(), Seq: seq}
	b, ok := message.AppendEnvelope(c.out[:0], &e, len(call))
	if !ok {
		return false, errors.New("the call is longer than a frame")
	}
	c.out = append(b, call...)
	n, err := c.rw.Write(c.out)
	if err != nil {
		return n > 0, fmt.Errorf("send the call: %w", err)
	}
	return true, nil
}

// Receive reads the next reply. The slice is valid until the next call.
func (c *Conn) Receive() ([]byte, error) {
	c.in = append(c.in[:0], c.in[c.read:]...)
	c.read = 0
	if c.transport == message.Unframed {
		return c.unframed()
	}
	for {
		err := message.ParseEnvelope(c.transport, c.in, c.limit, &c.envelope)
		if err == nil && len(c.in) >= c.envelope.Length {
			break
		}
		if err != nil && !errors.Is(err, message.ErrShort) {
			return nil, fmt.Errorf("read the reply: %w", err)
		}
		if err := c.more(); err != nil {
			return nil, err
		}
	}
	c.read = c.envelope.Length
	reply := c.in[c.envelope.Message:c.envelope.Length]
	if !c.envelope.Zlib {
		return reply, nil
	}
	var err error
	if c.inflated, err = c.inflater.Inflate(c.inflated[:0], reply, c.limit); err != nil {
		return nil, fmt.Errorf("read the reply: %w", err)
	}
	return c.inflated, nil
}

// Pending reports whether bytes follow the reply that nobody has asked for.
func (c *Conn) Pending() bool { return len(c.in) > c.read }

// unframed finds the end of a reply by walking it.
func (c *Conn) unframed() ([]byte, error) {
	var h message.Head
	for {
		var err error
		if h, err = message.ParseHead(c.protocol.wire(), c.in); err == nil {
			break
		}
		if !errors.Is(err, message.ErrShort) {
			return nil, fmt.Errorf("read the reply: %w", err)
		}
		if err := c.more(); err != nil {
			return nil, err
		}
	}
	c.scanner.Reset(c.protocol.wire(), int64(c.limit))
	for at := h.Struct; ; {
		n, err := c.scanner.Scan(c.in[at:])
		if err != nil {
			return nil, fmt.Errorf("read the reply: %w", err)
		}
		if at += n; c.scanner.Done() {
			c.read = at
			return c.in[:at], nil
		}
		if err := c.more(); err != nil {
			return nil, err
		}
	}
}

// chunk is how much room is made at once.
const chunk = 4 << 10

// more reads what comes; memory grows by what has come, not by what a length says.
func (c *Conn) more() error {
	if cap(c.in)-len(c.in) < chunk {
		c.in = append(make([]byte, 0, max(2*cap(c.in), len(c.in)+chunk)), c.in...)
	}
	n, err := c.rw.Read(c.in[len(c.in):cap(c.in)])
	c.in = c.in[:len(c.in)+n]
	switch {
	case n > 0:
		return nil
	case errors.Is(err, io.EOF):
		return fmt.Errorf("read the reply: %w", io.ErrUnexpectedEOF)
	case err != nil:
		return fmt.Errorf("read the reply: %w", err)
	}
	return nil
}
