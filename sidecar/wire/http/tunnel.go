// SPDX-License-Identifier: Apache-2.0

package http

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
	"weir.dev/weir/sidecar/wire/splice"
)

// upgradeTo returns the protocol that the request asks for with Upgrade, nil when
// there is none that is passed on: one token, named over HTTP/1.1, and listed by
// Connection. h2c is not one: its bytes would pass by the policies of the port.
func (t *txn) upgradeTo() []byte {
	v, n := t.head.Header("upgrade")
	if n != 1 || t.http10 || !rules.IsToken(v) || rules.EqualFold(v, "h2c") || !t.anyConnection("upgrade") {
		return nil
	}
	return v
}

// appendUpgrade appends the field, and Connection to go with it.
func appendUpgrade(b []byte, f *field) []byte {
	b = append(b, "Connection: Upgrade\r\n"...)
	return appendField(b, f)
}

// agrees reports whether the application's 101 is the answer to what was asked.
func (l *Leg) agrees(protocol []byte) bool {
	v, n := l.head.Header("upgrade")
	return n == 1 && rules.EqualFold(v, lower(protocol)) && rules.ListHas(connectionLists(&l.head), "upgrade")
}

func lower(b []byte) string {
	out := make([]byte, len(b))
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		out[i] = c
	}
	return string(out)
}

// switchProtocols answers with the application's 101 and joins the connections
// until they end. What the client has sent behind its request waits until now:
// before, it could have been its next request.
func (t *txn) switchProtocols() exchange.Outcome {
	l := &t.up
	moved := l.pump.started
	whole := l.finishPump()
	if moved {
		t.c.resetDeadlines()
	}
	if !whole || !l.agrees(t.upgrade) {
		l.headed = false
		t.fail(invalidResponse{errors.New("the application switched protocols before it had the request, or to another than was asked for")}, exchange.SentNoReply)
		return exchange.SentNoReply
	}
	if t.observing {
		t.upstream = time.Since(l.start)
	}
	t.close, t.status, t.x.Status = true, l.status, l.status
	// What follows is no response, so nobody records it.
	t.x.Response, t.x.Record = (*response)(l), false
	t.chain.ResponseHead(&t.x)
	w := t.appendSwitching(t.w[:0])
	up, read := l.Hijack()
	w = append(w, read...)
	if !t.flush(w) {
		_ = up.Close()
		t.aborted = abortedClientGone
		return exchange.Aborted
	}
	t.count()
	t.tunnel(up)
	t.sent += int64(len(read))
	return exchange.Replied
}

// appendSwitching is appendResponseHead for 101, which has no body.
func (t *txn) appendSwitching(w []byte) []byte {
	l := &t.up
	w = append(w, l.head.line...)
	w = append(w, "\r\n"...)
	for i := range l.head.fields {
		f := &l.head.fields[i]
		switch {
		case rules.EqualFold(f.name, "upgrade"):
			w = appendUpgrade(w, f)
		case rules.HopByHop(f.name, f.value), rules.EqualFold(f.name, "content-length"), rules.EqualFold(f.name, "transfer-encoding"),
			t.x.HidesResponse(f.name):
		default:
			w = appendField(w, f)
		}
	}
	w = t.appendFields(w)
	return append(w, "\r\n"...)
}

// tunnel joins the client with up. The txn keeps what filters have to be told at
// the end and lets go of every buffer.
func (t *txn) tunnel(up net.Conn) {
	c := t.c
	c.spliced.Store(&up)
	if c.s.ctx.Err() != nil {
		c.kill()
	}
	early, _ := t.br.Peek(t.br.Buffered())
	n := int64(len(early))
	if n > 0 {
		_ = up.SetWriteDeadline(time.Now().Add(t.s.Settings().Stall))
		if _, err := up.Write(early); err != nil {
			c.kill()
		}
		_ = up.SetWriteDeadline(time.Time{})
	}
	_ = c.nc.SetDeadline(time.Time{})
	t.spent = true
	t.body.release()
	t.br, t.w, t.out, t.doc, t.whole = nil, nil, nil, nil, nil
	t.up.br, t.up.pump.buf = nil, nil
	t.up.header, t.header = fasthttp.ResponseHeader{}, fasthttp.RequestHeader{}
	defer c.endIdle()()
	from, to := splice.Join(c.nc, up)
	t.body.size += n + from
	t.sent = to
}

// endIdle ends a tunnel on which nothing has moved for as long as a connection may
// be idle. It is a timer that asks the kernel, so that bytes need not pass by us.
func (c *conn) endIdle() (stop func()) {
	if c.raw == nil {
		return func() {}
	}
	limit := c.s.Settings().Idle
	var (
		mu    sync.Mutex
		timer *time.Timer
		ended bool
	)
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(limit, func() {
		mu.Lock()
		defer mu.Unlock()
		if ended {
			return
		}
		quiet := c.quietFor()
		if quiet >= limit {
			c.kill()
			return
		}
		timer.Reset(max(limit-quiet, 10*time.Millisecond))
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		ended = true
		timer.Stop()
	}
}

// quietFor is how long no byte has moved on the client's connection.
func (c *conn) quietFor() (quiet time.Duration) {
	_ = c.raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			quiet = time.Duration(min(info.Last_data_sent, info.Last_data_recv)) * time.Millisecond
		}
	})
	return quiet
}
