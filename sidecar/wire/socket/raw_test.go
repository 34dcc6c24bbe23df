// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// socketPair is a socket and the other end of its connection.
func socketPair(t testing.TB) (*Socket, *net.TCPConn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	own := c.(*net.TCPConn)
	raw, err := own.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	s := &Socket{}
	s.Attach(own, raw)
	return s, own, other.(*net.TCPConn)
}

// Much more than the kernel holds goes through in both directions at once, in
// order, with waits in between.
func TestSocketCarriesAll(t *testing.T) {
	s, own, other := socketPair(t)
	sent := bytes.Repeat([]byte("0123456789abcde\n"), 1<<20)
	go func() {
		_, _ = io.Copy(other, other)
		_ = other.CloseWrite()
	}()
	go func() {
		if n, err := s.Write(sent); n != len(sent) || err != nil {
			t.Errorf("wrote %d of %d: %v", n, len(sent), err)
		}
		_ = own.CloseWrite()
	}()
	got, err := io.ReadAll(s)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes came back: %v", len(got), len(sent), err)
	}
}

// What goes wrong is told as net.Conn tells it.
func TestSocketErrors(t *testing.T) {
	read := func(s *Socket) error {
		_, err := s.Read(make([]byte, 16))
		return err
	}
	write := func(s *Socket) error {
		_, err := s.Write(make([]byte, 64<<20))
		return err
	}
	past := time.Unix(1, 0)
	for name, tc := range map[string]struct {
		before func(own, other *net.TCPConn) error
		do     func(*Socket) error
		want   error
	}{
		"end":                     {func(_, other *net.TCPConn) error { return other.Close() }, read, io.EOF},
		"read after its deadline": {func(own, _ *net.TCPConn) error { return own.SetReadDeadline(past) }, read, os.ErrDeadlineExceeded},
		"deadline while reading":  {func(own, _ *net.TCPConn) error { return own.SetReadDeadline(time.Now().Add(time.Millisecond)) }, read, os.ErrDeadlineExceeded},
		"deadline while writing":  {func(own, _ *net.TCPConn) error { return own.SetWriteDeadline(time.Now().Add(time.Millisecond)) }, write, os.ErrDeadlineExceeded},
		"read of a closed one":    {func(own, _ *net.TCPConn) error { return own.Close() }, read, net.ErrClosed},
		"write to a closed one":   {func(own, _ *net.TCPConn) error { return own.Close() }, write, net.ErrClosed},
		"reset":                   {reset, read, syscall.ECONNRESET},
		"write to a finished one": {func(own, _ *net.TCPConn) error { return own.CloseWrite() }, write, syscall.EPIPE},
	} {
		t.Run(name, func(t *testing.T) {
			s, own, other := socketPair(t)
			if err := tc.before(own, other); err != nil {
				t.Fatal(err)
			}
			if err := tc.do(s); !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
		})
	}
}

func reset(_, other *net.TCPConn) error {
	return errors.Join(other.SetLinger(0), other.Close())
}

// A write that its deadline ends says how far it came.
func TestSocketWritesInPart(t *testing.T) {
	s, own, other := socketPair(t)
	first := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(other, make([]byte, 1))
		first <- errors.Join(err, own.SetWriteDeadline(time.Unix(1, 0)))
	}()
	n, err := s.Write(make([]byte, 64<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 {
		t.Fatalf("wrote %d: %v", n, err)
	}
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if err := own.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.Copy(io.Discard, other); got+1 != int64(n) || err != nil {
		t.Errorf("%d came of %d that were written: %v", got+1, n, err)
	}
}

// What is no socket of the kernel's own, such as TLS, is asked itself.
func TestSocketOfOthers(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	s := &Socket{}
	s.Attach(a, nil)
	go func() {
		_, _ = io.Copy(b, b)
		_ = b.Close()
	}()
	if n, err := s.Write([]byte("x")); n != 1 || err != nil {
		t.Fatalf("wrote %d: %v", n, err)
	}
	if n, err := s.Read(make([]byte, 4)); n != 1 || err != nil {
		t.Fatalf("read %d: %v", n, err)
	}
}
