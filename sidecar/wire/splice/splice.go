// SPDX-License-Identifier: Apache-2.0

package splice

import (
	"io"
	"net"
)

// Join copies a to b and b to a until both have ended, passing on the end of each
// direction as it comes (half-close), and closes both. An error in one direction
// ends the other.
func Join(a, b net.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		pipe(b, a)
	}()
	pipe(a, b)
	<-done
	_ = a.Close()
	_ = b.Close()
}

func pipe(dst, src net.Conn) {
	_, err := io.Copy(dst, src)
	if err == nil && closeWrite(dst) == nil {
		return
	}
	_ = src.Close()
	_ = dst.Close()
}

func closeWrite(c net.Conn) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return c.Close()
}
