// SPDX-License-Identifier: Apache-2.0

package tap

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Hook is asked at each point before what was read goes on. false: the connection is
// cut, on both sides, and it does not. Safe for concurrent use.
type Hook func(point string) bool

// Tap is a proxy of one address.
type Tap struct {
	// Addr is where it listens.
	Addr string

	join   func(near, far net.Conn) (up, down half)
	target atomic.Pointer[string]
	mu     sync.Mutex
	ln     net.Listener
	conns  map[net.Conn]bool
	closed bool
	wg     sync.WaitGroup
}

// Streams starts a tap of bytes: its points are `<name>/request` and
// `<name>/response`, for each piece as it comes.
func Streams(t testing.TB, target, name string, hook Hook) *Tap {
	request, response := name+"/request", name+"/response"
	return start(t, target, func(near, far net.Conn) (up, down half) {
		return pump(near, far, func() bool { return hook(request) }), pump(far, near, func() bool { return hook(response) })
	})
}

// half copies one way. It returns true at the end of what it reads, false where the
// connection is to be cut.
type half func() bool

func pump(from, to net.Conn, ask func() bool) half {
	return func() bool {
		buf := make([]byte, 32<<10)
		for {
			n, err := from.Read(buf)
			if n > 0 {
				if !ask() {
					return false
				}
				if _, err := to.Write(buf[:n]); err != nil {
					return false
				}
			}
			if err != nil {
				return errors.Is(err, io.EOF)
			}
		}
	}
}

// Redis starts a tap of a Redis server. kind names a command that matters; its points
// are `redis/<kind>`, before the server gets it, and `redis/<kind>-done`, before its
// reply goes back. What kind has no name for passes.
func Redis(t testing.TB, target string, kind func(words [][]byte) string, hook Hook) *Tap {
	return start(t, target, func(near, far net.Conn) (up, down half) {
		// In the order of the replies.
		pending := make(chan string, 1<<16)
		up = func() bool {
			defer close(pending)
			r := bufio.NewReaderSize(near, 64<<10)
			for {
				raw, words, err := readMessage(r)
				if err != nil {
					return errors.Is(err, io.EOF)
				}
				k := kind(words)
				if k != "" && !hook("redis/"+k) {
					return false
				}
				pending <- k
				if _, err := far.Write(raw); err != nil {
					return false
				}
			}
		}
		down = func() bool {
			r := bufio.NewReaderSize(far, 64<<10)
			for {
				raw, _, err := readMessage(r)
				if err != nil {
					return errors.Is(err, io.EOF)
				}
				if raw[0] != '>' {
					if k := <-pending; k != "" && !hook("redis/"+k+"-done") {
						return false
					}
				}
				if _, err := near.Write(raw); err != nil {
					return false
				}
			}
		}
		return up, down
	})
}

func start(t testing.TB, target string, join func(near, far net.Conn) (up, down half)) *Tap {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tap := &Tap{Addr: ln.Addr().String(), join: join, ln: ln, conns: map[net.Conn]bool{}}
	tap.target.Store(&target)
	tap.wg.Go(func() { tap.accept(ln) })
	t.Cleanup(tap.close)
	return tap
}

func (t *Tap) accept(ln net.Listener) {
	for {
		near, err := ln.Accept()
		if err != nil {
			return
		}
		t.wg.Go(func() { t.serve(near) })
	}
}

// Retarget makes connections from now on go to another address, and cuts those that
// there are.
func (t *Tap) Retarget(target string) {
	t.target.Store(&target)
	t.Cut()
}

// Refuse stops listening, so that whoever dials is refused, and cuts what there is.
// Accept ends it.
func (t *Tap) Refuse() {
	t.mu.Lock()
	ln := t.ln
	t.mu.Unlock()
	_ = ln.Close()
	t.Cut()
}

// Accept listens again after Refuse.
func (t *Tap) Accept() error {
	ln, err := net.Listen("tcp", t.Addr)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ln = ln
	t.wg.Go(func() { t.accept(ln) })
	return nil
}

// Cut ends all connections.
func (t *Tap) Cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.conns {
		cut(c)
	}
}

// cut resets a connection, so that nobody takes its end for the end of a message.
func cut(c net.Conn) {
	if tc, ok := c.(*net.TCPConn); ok {
		_ = tc.SetLinger(0)
	}
	_ = c.Close()
}

func (t *Tap) close() {
	t.mu.Lock()
	t.closed = true
	_ = t.ln.Close()
	t.mu.Unlock()
	t.Cut()
	t.wg.Wait()
}

func (t *Tap) serve(near net.Conn) {
	far, err := net.Dial("tcp", *t.target.Load())
	if err != nil {
		cut(near)
		return
	}
	t.mu.Lock()
	closed := t.closed
	if !closed {
		t.conns[near], t.conns[far] = true, true
	}
	t.mu.Unlock()
	if closed {
		cut(near)
		cut(far)
		return
	}
	up, down := t.join(near, far)
	var both sync.WaitGroup
	run := func(h half, to net.Conn) {
		both.Go(func() {
			if !h() {
				cut(near)
				cut(far)
				return
			}
			if c, ok := to.(*net.TCPConn); ok {
				_ = c.CloseWrite()
			}
		})
	}
	run(up, far)
	run(down, near)
	both.Wait()
	_, _ = near.Close(), far.Close()
	t.mu.Lock()
	delete(t.conns, near)
	delete(t.conns, far)
	t.mu.Unlock()
}
