// SPDX-License-Identifier: Apache-2.0

package splice

import (
	"io"
	"net"
)

// Join copies a to b and b to a until both have ended, passing on the end of each
// direction as it comes (half-close), and closes both. An error in one direction
// ends the other. It returns how many bytes went each way.
func Join(a, b net.Conn) (fromA, fromB int64) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		fromA = pipe(b, a)
	}()
	fromB = pipe(a, b)
	<-done
	_ = a.Close()
	_ = b.Close()
	return fromA, fromB
}

func pipe(dst, src net.Conn) int64 {
	n, err := io.Copy(dst, src)
	if err == nil && closeWrite(dst) == nil {
		return n
	}
	_ = src.Close()
	_ = dst.Close()
	return n
}

func closeWrite(c net.Conn) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return c.Close()
}
