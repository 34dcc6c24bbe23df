// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"time"

	"github.com/valyala/fasthttp"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
	"weir.dev/weir/sidecar/wire/socket"
)

// txn is the memory of one request and its response: pooled, attached to a
// connection only while there is something to read.
type txn struct {
	s *Server
	c *conn
	// sock is the client's side, br what was read of it.
	sock socket.Socket
	br   *bufio.Reader

	header   fasthttp.RequestHeader
	head     head
	target   target
	paths    rules.Paths
	xff, fwd [][]byte
	body     body
	// whole is what filters have asked for of the body: all of it where buffered.
	whole    []byte
	buffered bool
	reserved int64

	x        exchange.Exchange
	port     *exchange.Port
	progress exchange.Progress
	chain    exchange.Chain

	http10 bool
	// expects100: the client waits for 100 Continue or an answer.
	expects100 bool
	// close: the connection ends after this response.
	close bool
	// linger: the client may still be sending when it does.
	linger bool
	// status that the client got.
	status int
	// http2 is what was read of a connection that begins with HTTP/2's preface.
	http2 []byte
	// aborted is why the exchange did not end well.
	aborted string
	// maxBody bounds the request's body; 0: not bounded.
	maxBody int64
	// upgrade is the protocol that the client asks for, nil when it asks for none
	// that can be passed on.
	upgrade []byte
	// counted: Metrics.Request was called.
	counted bool
	// spent: the txn has given its memory away and serves no other request.
	spent bool
	// observing: observer wants to know the end.
	observing bool
	observer  exchange.Observer
	record    exchange.Record
	// sent is how much of a body the client got, upstream how long the application
	// took, if somebody observes.
	sent     int64
	upstream time.Duration
	// ending: filters are being told the outcome.
	ending bool
	// deaf: nothing more goes to the client, which has gone or, where answered says
	// when, was told that the application is late.
	deaf     bool
	answered time.Time
	// until bounds the wait for what only recorders want; zero while a client is there.
	until time.Time

	// out is what goes to the application, w what goes to the client.
	out, w, doc []byte
	up          Leg
}

func newTxn(s *Server) *txn {
	t := &txn{s: s}
	t.br = bufio.NewReaderSize(nil, s.Settings().HeadBytes)
	t.up.init(s)
	return t
}

func (t *txn) attach(c *conn) {
	t.c = c
	c.txn = t
	t.sock.Attach(c.nc, c.raw)
	if n := t.s.Settings().HeadBytes; t.br.Size() != n {
		t.br = bufio.NewReaderSize(&t.sock, n)
	} else {
		t.br.Reset(&t.sock)
	}
}

// detach lets go of the connection. Memory that one unusual request has made
// large goes too.
func (t *txn) detach() {
	if !t.spent {
		t.br.Reset(nil)
	}
	t.sock.Attach(nil, nil)
	t.c.txn = nil
	t.c = nil
	if cap(t.w) > maxKept {
		t.w = nil
	}
	if cap(t.out) > maxKept {
		t.out = nil
	}
	if cap(t.whole) > maxKept {
		t.whole = nil
	}
}

const maxKept = 64 << 10

// serve reads one request, answers it and reports whether the connection may
// serve another.
func (t *txn) serve() (keep bool) {
	t.close, t.linger, t.ending, t.status, t.aborted = false, false, false, 0, ""
	t.w = t.w[:0]
	if !t.readHead() {
		return false
	}
	t.c.requests++
	t.begin()
	d, ok := t.paths.Fill(&t.x, t.port)
	if ok && t.maxBody > 0 && t.body.framing == fixedLength && t.body.left > t.maxBody {
		d, ok = rules.BodyTooLarge(), false
	}
	t.upgrade = t.upgradeTo()
	t.dropListed()
	t.observe()
	outcome := exchange.NotSent
	if ok {
		outcome = t.run()
	} else {
		t.answer(d)
	}
	t.count()
	t.observed(outcome)
	t.end()
	return !t.close
}

// count counts the request, once.
func (t *txn) count() {
	if !t.counted {
		t.counted = true
		t.s.cfg.Metrics.Request(t.c.target.Port, HTTP1, t.status, t.x.Start)
	}
}

// begin fills the exchange from the head.
func (t *txn) begin() {
	c := t.c
	now := time.Now()
	c.extendDeadlines(now)
	t.port, _ = t.s.cfg.Ports.Port(c.target.Port)
	t.chain, t.maxBody, t.observer = nil, 0, nil
	t.sent, t.upstream, t.observing, t.counted = 0, 0, false, false
	t.up.sent = false
	t.buffered, t.deaf, t.answered, t.until = false, false, time.Time{}, time.Time{}
	x := &t.x
	x.Reset()
	if t.port != nil {
		t.chain, t.maxBody, t.observer = t.port.Chain, t.port.MaxBody, t.port.Observer
	}
	x.Context = t.s.ctx
	x.Start = now
	x.Port = c.target.Port
	x.Protocol = "HTTP/1.1"
	if t.http10 {
		x.Protocol = "HTTP/1.0"
	}
	x.Method = t.target.method
	x.RawPath = t.target.path
	x.Query = t.target.query
	x.Peer = c.peer
	x.Request = &t.head
	x.Client = t.identify()
}

// end gives back what the request held.
func (t *txn) end() {
	t.body.release()
	if t.reserved > 0 {
		t.s.reserve(-t.reserved)
		t.reserved = 0
	}
	t.whole = t.whole[:0]
	t.x.Body, t.x.Request, t.x.Response, t.x.Context = nil, nil, nil, nil
	t.port, t.chain, t.observer = nil, nil, nil
}

// run takes the request through the filters and, when they let it, to the
// application. What holds denials is not in its frame: it lies under the parser of
// responses, and a stack that does not fit doubles for as long as the connection.
func (t *txn) run() exchange.Outcome {
	outcome := exchange.NotSent
	if t.filter() == exchange.Respond {
		t.answerFilter()
	} else {
		outcome = t.forward()
	}
	t.ending = true
	t.chain.End(&t.x, &t.progress, outcome)
	return outcome
}

// filter asks the filters, with the body where one needs it.
//
//go:noinline
func (t *txn) filter() exchange.Verdict {
	x := &t.x
	verdict := t.chain.Head(x, &t.progress)
	for verdict == exchange.NeedBody {
		d, oversize, ok := t.buffer(t.chain.MaxBody(&t.progress))
		if ok {
			verdict = t.chain.Body(x, &t.progress)
			continue
		}
		if oversize {
			if v, asked := t.chain.Oversize(x, &t.progress); asked {
				verdict = v
				continue
			}
		}
		x.Deny(d)
		return exchange.Respond
	}
	return verdict
}

//go:noinline
func (t *txn) answerFilter() {
	if r := t.x.Reply(); r != nil {
		t.answerReply(r)
		return
	}
	t.answer(t.x.Denial)
}

// abandon gives back what a request held that ended in a panic. The txn is not
// used again.
func (t *txn) abandon() {
	defer func() { _ = recover() }()
	if t.reserved > 0 {
		t.s.reserve(-t.reserved)
	}
	outcome := exchange.NotSent
	// The leg may have ended before the panic.
	if t.up.sent {
		outcome = exchange.SentNoReply
	}
	if t.up.conn != nil {
		_ = t.up.conn.Close()
	}
	defer func() {
		// A filter may panic once more.
		_ = recover()
		t.aborted = "panic"
		if t.x.Request != nil {
			t.count()
		}
		t.observed(outcome)
	}()
	if !t.ending {
		t.ending = true
		t.chain.End(&t.x, &t.progress, outcome)
	}
}

// skipEmptyLine takes the CRLF that some old clients send after a body, so that
// it does not look like the beginning of a request.
func (t *txn) skipEmptyLine() {
	if t.br.Buffered() != 2 {
		return
	}
	if b, _ := t.br.Peek(2); b[0] == '\r' && b[1] == '\n' {
		_, _ = t.br.Discard(2)
	}
}
