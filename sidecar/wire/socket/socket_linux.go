// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"io"
	"net"
	"os"
	"syscall"
)

// Socket reads and writes a connection by system calls that the scheduler is not
// told of, as recvPeek does. They never block, so it need not know; but whenever
// the process has had a moment's pause, the first call that it is told of wakes its
// monitor thread, which costs more than the request where load leaves such pauses
// (docs/design/2026-11-24-half-load.md). One goroutine may read while another
// writes. Its memory is used again for one connection after another.
type Socket struct {
	conn net.Conn
	// raw is nil where conn is not the kernel's socket itself.
	raw syscall.RawConn
	in  transfer
	out transfer
}

// transfer is a read or a write under way.
type transfer struct {
	rest  []byte
	n     int
	errno syscall.Errno
	// try is called until it returns true, whenever the socket may be ready; it is
	// made once, so that no call allocates.
	try func(fd uintptr) bool
}

// maxTransfer bounds what the kernel copies in one call.
const maxTransfer = 64 << 10

// Attach makes c the connection. raw is c's, if it is known already.
func (s *Socket) Attach(c net.Conn, raw syscall.RawConn) {
	s.conn, s.raw = c, nil
	if _, plain := c.(*net.TCPConn); !plain {
		return
	}
	s.raw = raw
	if s.in.try == nil {
		s.in.try, s.out.try = s.in.receive, s.out.send
	}
}

// Read implements io.Reader.
func (s *Socket) Read(p []byte) (int, error) {
	if s.raw == nil || len(p) == 0 {
		return s.conn.Read(p)
	}
	t := &s.in
	t.start(p[:min(len(p), maxTransfer)])
	err := t.end("read", s.raw.Read(t.try))
	if err == nil && t.n == 0 {
		err = io.EOF
	}
	return t.n, err
}

// Write implements io.Writer.
func (s *Socket) Write(p []byte) (int, error) {
	if s.raw == nil || len(p) == 0 {
		return s.conn.Write(p)
	}
	t := &s.out
	t.start(p)
	err := t.end("write", s.raw.Write(t.try))
	return t.n, err
}

func (t *transfer) start(p []byte) { t.rest, t.n, t.errno = p, 0, 0 }

// end returns what went wrong: err is of waiting.
func (t *transfer) end(call string, err error) error {
	t.rest = nil
	if err == nil && t.errno != 0 {
		err = &net.OpError{Op: call, Net: "tcp", Err: os.NewSyscallError(call, t.errno)}
	}
	return err
}

func (t *transfer) receive(fd uintptr) bool {
	n, errno := recvOnce(fd, t.rest)
	for errno == syscall.EINTR {
		n, errno = recvOnce(fd, t.rest)
	}
	if errno == syscall.EAGAIN {
		return false
	}
	t.n, t.errno = n, errno
	return true
}

func (t *transfer) send(fd uintptr) bool {
	for len(t.rest) > 0 {
		n, errno := sendOnce(fd, t.rest[:min(len(t.rest), maxTransfer)])
		switch errno {
		case 0:
			t.n += n
			t.rest = t.rest[n:]
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			t.errno = errno
			return true
		}
	}
	return true
}
