// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
)

// smallFrames is a connection to an application that seems to take no frames
// larger than the smallest that everyone must take. net/http's client holds a
// buffer as large as the application's bound, up to 512 KiB, for each request
// whose length it does not know: for the whole of each streaming gRPC call.
type smallFrames struct {
	net.Conn
	// head of the first frame, of which got bytes have come.
	got int
	// seen: the first frame has passed.
	seen bool
	// stranger: what came is no SETTINGS, or the end.
	stranger atomic.Bool
	// settled is closed when the frame has been worked with, or never will be.
	settled chan struct{}
	once    sync.Once
	// length of its payload, and where in it we are.
	length, at int
	// setting is being read.
	setting [6]byte
	head    [9]byte
}

const (
	frameSettings       = 4
	settingMaxFrameSize = 5
	minMaxFrameSize     = 16 << 10
)

// Read implements net.Conn. It changes the value of SETTINGS_MAX_FRAME_SIZE in the
// first frame, which is the application's SETTINGS (RFC 9113 section 3.4).
func (c *smallFrames) Read(p []byte) (int, error) {
	if c.seen {
		// Who reads on has worked with what it has read.
		c.settle()
		return c.Conn.Read(p)
	}
	n, err := c.Conn.Read(p)
	c.scan(p[:n])
	if err != nil || c.stranger.Load() {
		if !c.seen {
			c.stranger.Store(true)
		}
		c.settle()
	}
	return n, err
}

func (c *smallFrames) settle() { c.once.Do(func() { close(c.settled) }) }

// Close implements net.Conn.
func (c *smallFrames) Close() error {
	c.settle()
	return c.Conn.Close()
}

func (c *smallFrames) scan(p []byte) {
	for i := range p {
		if c.got < len(c.head) {
			c.head[c.got] = p[i]
			if c.got++; c.got == len(c.head) {
				c.length = int(c.head[0])<<16 | int(c.head[1])<<8 | int(c.head[2])
				c.stranger.Store(c.head[3] != frameSettings)
				c.seen = c.stranger.Load() || c.length == 0
			}
			if c.seen {
				return
			}
			continue
		}
		k := c.at % len(c.setting)
		c.setting[k] = p[i]
		if k >= 2 && binary.BigEndian.Uint16(c.setting[:2]) == settingMaxFrameSize {
			// The value is 4 bytes, as large or larger than ours.
			p[i] = byte(uint32(minMaxFrameSize) >> (8 * (len(c.setting) - 1 - k)))
		}
		if c.at++; c.at == c.length {
			c.seen = true
			return
		}
	}
}
