// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"syscall"
	"unsafe"
)

// recvPeek looks at the first byte that waits in a socket without taking it. It
// never blocks, so the scheduler need not know of the call.
func recvPeek(fd uintptr, b *[1]byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(b)), 1,
		syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// Waiter waits for a connection to be readable without a buffer. Its memory is used
// again, so that no wait allocates. It is for one goroutine at a time.
type Waiter struct {
	raw    syscall.RawConn
	wake   func(fd uintptr) bool
	look   func(fd uintptr)
	looked bool
	state  State
	buf    [1]byte
}

// State is what a look at a connection has shown.
type State uint8

const (
	// Quiet: nothing has come.
	Quiet State = iota
	// Readable: there is something to read.
	Readable
	// Gone: the other side has ended, or reset the connection.
	Gone
)

// NewWaiter returns a Waiter for raw.
func NewWaiter(raw syscall.RawConn) *Waiter {
	w := &Waiter{raw: raw}
	w.wake = w.wakeFD
	w.look = func(fd uintptr) { w.peek(fd) }
	return w
}

// Wait returns when there may be something to read; false when the connection has ended
// or its read deadline is over.
func (w *Waiter) Wait() bool {
	w.looked = false
	return w.raw.Read(w.wake) == nil && w.state != Gone
}

// wakeFD looks once; where nothing is there the runtime waits until something is, and
// calls it again.
func (w *Waiter) wakeFD(fd uintptr) bool {
	if w.looked {
		return true
	}
	w.looked = true
	w.peek(fd)
	return w.state != Quiet
}

func (w *Waiter) peek(fd uintptr) {
	n, errno := recvPeek(fd, &w.buf)
	switch {
	case errno == syscall.EAGAIN || errno == syscall.EINTR:
		w.state = Quiet
	case n <= 0 || errno != 0:
		w.state = Gone
	default:
		w.state = Readable
	}
}

// Look says at once how the connection stands.
func (w *Waiter) Look() State {
	if w.raw.Control(w.look) != nil {
		return Gone
	}
	return w.state
}

// First is the first byte that waits to be read, after Look has said Readable.
func (w *Waiter) First() byte { return w.buf[0] }
