// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// maxBody bounds the body of a request.
const maxBody = 16 << 20

// Budget bounds what the connections of a process hold of bodies together.
type Budget struct{ left atomic.Int64 }

// NewBudget is of n bytes.
func NewBudget(n int64) *Budget {
	b := &Budget{}
	b.left.Store(n)
	return b
}

// take reports whether n bytes were left; negative n gives back.
func (b *Budget) take(n int64) bool {
	if b.left.Add(-n) >= 0 || n < 0 {
		return true
	}
	b.left.Add(n)
	return false
}

// Translator makes connections to an application take requests of HTTP/1.1 where the
// application takes calls: so the leg to it is the one that every request has, with its
// pool, timeouts, recorders and outcomes. It implements exchange.Transcoder.
type Translator struct {
	table  *Table
	budget *Budget
}

// NewTranslator is by a table. A table without methods answers 503: there is no mapping.
func NewTranslator(t *Table, b *Budget) *Translator { return &Translator{t, b} }

// Attach implements exchange.Transcoder.
func (r *Translator) Attach(c net.Conn) net.Conn {
	t, is := c.(*translated)
	if !is {
		t = &translated{Conn: c}
		t.wake.L = &t.mu
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil || t.by.table.Transport != r.table.Transport || t.by.table.Protocol != r.table.Protocol {
		t.calls = NewConn(t.Conn, r.table.Transport, r.table.Protocol, DefaultResponse)
	}
	t.by = r
	return t
}

// phase of a translated connection.
type phase uint8

const (
	// receiving: the request is not whole.
	receiving phase = iota
	// sending: the call is on its way.
	sending
	// waiting: for the reply.
	waiting
	// answered: the response is in out.
	answered
)

// translated is a connection to the application that takes a request of HTTP/1.1,
// written by a leg of this process, and gives a response, one after the other. One
// goroutine may write while another reads.
type translated struct {
	net.Conn
	calls *Conn

	mu   sync.Mutex
	wake sync.Cond
	by   *Translator

	phase   phase
	request incoming
	route   *Route
	// held is what the budget was asked for.
	held int64
	// out is what of the response was not read.
	out    []byte
	answer []byte
	failed error

	deadline time.Time
	closed   bool
}

// SyscallConn implements syscall.Conn, by which an end is seen between requests.
func (t *translated) SyscallConn() (syscall.RawConn, error) {
	if c, ok := t.Conn.(syscall.Conn); ok {
		return c.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// Close implements net.Conn.
func (t *translated) Close() error {
	err := t.Conn.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.release()
	t.wake.Broadcast()
	return err
}

// SetReadDeadline implements net.Conn.
func (t *translated) SetReadDeadline(at time.Time) error {
	err := t.Conn.SetReadDeadline(at)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deadline = at
	t.wake.Broadcast()
	return err
}

// Write implements net.Conn. It returns 0 where the request came with one Write and no
// byte of its call was taken, so that it may be sent again.
func (t *translated) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return 0, net.ErrClosed
	case t.phase == answered:
		// It was refused before its end.
		return len(p), nil
	case t.phase != receiving:
		return 0, errors.New("there is a request under way")
	}
	defer t.wake.Broadcast()
	alone := !t.request.begun()
	had := len(t.request.body)
	whole, err := t.request.add(p)
	switch grown := int64(len(t.request.body) - had); {
	case err != nil:
		return 0, err
	case len(t.request.body) > maxBody:
		t.refuse(tooLarge(), true)
		return len(p), nil
	case !t.by.budget.take(grown):
		t.refuse(busy(), true)
		return len(p), nil
	default:
		t.held += grown
	}
	if !whole {
		if t.request.expects {
			t.request.expects = false
			t.out = append(t.out, "HTTP/1.1 100 Continue\r\n\r\n"...)
		}
		return len(p), nil
	}
	if err := t.call(); err != nil {
		if alone {
			t.reset()
			return 0, err
		}
		t.refuse(unreachable(), true)
	}
	return len(p), nil
}

// call sends the call that the request is about, or answers without. An error: no byte
// of it was taken.
func (t *translated) call() error {
	t.route = nil
	message, r := t.convert()
	if r != nil {
		t.refuse(r, false)
		return nil
	}
	t.phase = sending
	t.mu.Unlock()
	sent, err := t.calls.Send(message, callSeq)
	t.mu.Lock()
	switch {
	case err != nil && !sent:
		return err
	case err != nil:
		t.phase, t.failed = waiting, err
	case t.route.Method.Oneway:
		t.respond(Oneway())
	default:
		t.phase = waiting
	}
	return nil
}

// callSeq is the sequence id of calls: a connection has one under way.
const callSeq = 1

// Read implements net.Conn.
func (t *translated) Read(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		switch {
		case len(t.out) > 0:
			n := copy(p, t.out)
			if t.out = t.out[n:]; len(t.out) == 0 && t.phase == answered && !t.request.unfinished {
				t.reset()
			}
			return n, nil
		case t.failed != nil:
			return 0, t.failed
		case t.closed:
			return 0, net.ErrClosed
		case t.phase == waiting:
			if err := t.receive(); err != nil {
				return 0, err
			}
		default:
			if err := t.wait(); err != nil {
				return 0, err
			}
		}
	}
}

// receive reads the reply and makes the response of it. An error of time is no end.
func (t *translated) receive() error {
	t.mu.Unlock()
	reply, err := t.calls.Receive()
	t.mu.Lock()
	if err != nil {
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.failed = err
		}
		return err
	}
	out, err := t.route.Response(reply, callSeq)
	if err != nil {
		t.refuse(asRefusal(err), t.calls.Pending())
		return nil
	}
	t.respond(out)
	return nil
}

// wait waits for the other goroutine, or the deadline.
func (t *translated) wait() error {
	if !t.deadline.IsZero() {
		left := time.Until(t.deadline)
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		timer := time.AfterFunc(left, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.wake.Broadcast()
		})
		defer timer.Stop()
	}
	t.wake.Wait()
	return nil
}

// reset makes the connection ready for the next request.
func (t *translated) reset() {
	t.release()
	t.request.reset()
	t.phase, t.route, t.out, t.answer = receiving, nil, nil, kept(t.answer)
}

func (t *translated) release() {
	t.by.budget.take(-t.held)
	t.held = 0
}

// maxKept is how large a buffer is kept for the next request.
const maxKept = 64 << 10

func kept(b []byte) []byte {
	if cap(b) > maxKept {
		return nil
	}
	return b[:0]
}
