// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

// txn is the memory of one request and its response: pooled, attached to a
// connection only while there is something to read.
type txn struct {
	s *Server
	c *conn
	// sock is the client's side, br what was read of it.
	sock socket
	br   *bufio.Reader

	header   fasthttp.RequestHeader
	head     head
	target   target
	paths    rules.Paths
	xff, fwd [][]byte
	body     body
	// whole is the body, once a filter has asked for it.
	whole    []byte
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
	t.sock.attach(c.nc, c.raw)
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
	t.sock.attach(nil, nil)
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
	t.x.Body, t.x.Request, t.x.Context = nil, nil, nil
	t.port, t.chain, t.observer = nil, nil, nil
}

// run takes the request through the filters and, when they let it, to the
// application. What holds denials is not in its frame: it lies under the parser of
// responses, and a stack that does not fit doubles for as long as the connection.
func (t *txn) run() exchange.Outcome {
	outcome := exchange.NotSent
	if t.filter() == exchange.Respond {
		t.answerDenial()
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
		d, ok := t.buffer(t.chain.MaxBody(&t.progress))
		if !ok {
			x.Deny(d)
			return exchange.Respond
		}
		verdict = t.chain.Body(x, &t.progress)
	}
	return verdict
}

//go:noinline
func (t *txn) answerDenial() { t.answer(t.x.Denial) }

// abandon gives back what a request held that ended in a panic. The txn is not
// used again.
func (t *txn) abandon() {
	defer func() { _ = recover() }()
	if t.reserved > 0 {
		t.s.reserve(-t.reserved)
	}
	outcome := exchange.NotSent
	if t.up.conn != nil {
		_ = t.up.conn.Close()
		if t.up.sent {
			outcome = exchange.SentNoReply
		}
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

// buffer reads the whole body for a filter.
func (t *txn) buffer(limit int) (exchange.Denial, bool) {
	if t.x.Body != nil {
		if len(t.whole) > limit {
			return rules.TooLarge(limit), false
		}
		return exchange.Denial{}, true
	}
	if t.maxBody > 0 && int64(limit) > t.maxBody {
		limit = int(t.maxBody)
	}
	if t.body.framing == fixedLength && t.body.left > int64(limit) {
		return rules.TooLarge(limit), false
	}
	if t.expects100 {
		if !t.flush(append(t.w, "HTTP/1.1 100 Continue\r\n\r\n"...)) {
			return rules.Malformed("The connection ended before the body."), false
		}
		t.expects100 = false
	}
	stall, last, waits := t.s.Settings().Stall, time.Time{}, !t.body.inBuffer()
	if waits {
		defer t.c.resetDeadlines()
	}
	for !t.body.ended {
		if now := time.Now(); waits && now.Sub(last) > stall/4 {
			last = now
			_ = t.c.nc.SetReadDeadline(now.Add(stall))
		}
		if d, ok := t.grow(limit); !ok {
			return d, false
		}
		n, err := t.body.Read(t.whole[len(t.whole):cap(t.whole)])
		t.whole = t.whole[:len(t.whole)+n]
		if len(t.whole) > limit {
			return rules.TooLarge(limit), false
		}
		if err != nil && !t.body.ended {
			return rules.Malformed("The body ends before its end, or a chunk of it is malformed."), false
		}
	}
	if t.whole == nil {
		t.whole = []byte{}
	}
	t.x.Body = t.whole
	return exchange.Denial{}, true
}

// grow makes room in t.whole, doubling it, within what all requests together may
// hold.
func (t *txn) grow(limit int) (exchange.Denial, bool) {
	if int64(len(t.whole)) < t.reserved && len(t.whole) < cap(t.whole) {
		return exchange.Denial{}, true
	}
	size := max(2*int64(len(t.whole)), 4096)
	if t.body.framing == fixedLength {
		size = int64(len(t.whole)) + t.body.left
	}
	size = min(size, int64(limit)+1)
	if size > t.reserved {
		if !t.s.reserve(size - t.reserved) {
			d := rules.Problem(http.StatusServiceUnavailable, rules.ProblemBuffersFull, "Buffers Full",
				"A policy needs the body of this request, and the bodies of other requests fill the memory that is set aside for them; retry in 1 s.")
			d.RetryAfter = time.Second
			return d, false
		}
		t.reserved = size
	}
	if int64(cap(t.whole)) < size {
		t.whole = append(make([]byte, 0, size), t.whole...)
	}
	return exchange.Denial{}, true
}

// discard reads what is left of a request that was answered without it, so that
// the next can be read. It reports false when that is not worth it.
func (t *txn) discard() bool {
	if t.body.ended {
		return true
	}
	if t.expects100 || t.body.framing == fixedLength && t.body.left > maxLinger {
		return false
	}
	if t.body.inBuffer() {
		n, _ := t.br.Discard(int(t.body.left))
		t.body.skip(n)
		return true
	}
	_ = t.c.nc.SetReadDeadline(time.Now().Add(time.Second))
	defer t.c.resetDeadlines()
	if cap(t.out) < 4096 {
		t.out = make([]byte, 0, 4096)
	}
	for n := 0; n <= maxLinger; {
		k, err := t.body.Read(t.out[:4096])
		n += k
		if t.body.ended {
			return true
		}
		if err != nil {
			return false
		}
	}
	return false
}
