// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/socket"
	"weir.dev/weir/sidecar/wire/thrift/message"
)

// txn is the memory of one call and its reply: pooled, attached to a connection only
// while there is something to read.
type txn struct {
	s    *Server
	c    *conn
	sock socket.Socket

	// in is what was read of the client, call the message in it.
	in   buffer
	call flow
	// out is what was read of the application, reply the message in it.
	out   buffer
	reply flow

	inflater message.Inflater
	digester message.Digester
	// whole is a message that a filter has asked for, or that is compressed, as it came;
	// plain is what a compressed one was.
	whole, plain []byte
	// packed and unpacked are a compressed reply that a filter records, or the
	// beginning of it.
	packed, unpacked []byte
	reserved         int64
	// args is what there is of the arguments; all: nothing is missing.
	args []byte
	all  bool
	// text is a field's value.
	text []byte

	x        exchange.Exchange
	xcall    exchange.Call
	path     []byte
	request  infos
	response infos
	port     *exchange.Port
	chain    exchange.Chain
	progress exchange.Progress
	observer exchange.Observer

	// edited is an envelope that Weir writes, with keys made for it, doc a message that
	// goes into it, w what goes out.
	edited message.Envelope
	keys   []byte
	doc, w []byte

	// close: the connection ends after this call; linger: the client may still be
	// sending then.
	close, linger bool
	// gone: nobody is there to get the reply.
	gone   bool
	result Result
	// status that the client got, 0 when it got none.
	status  int
	aborted string
	sent    int64
	// sending is when the call went out, writing the deadline of writing more of it.
	sending  time.Time
	writing  time.Time
	upstream time.Duration
	// waits: the connection's read deadline is that of a message.
	waits time.Time

	up *socket.Conn
	// reusable: after a whole reply up may carry another call. wrote: a byte of the
	// call was written to it.
	reusable, wrote bool
	// recorded: recorders are told of the reply's end.
	recorded bool
	// timeout bounds the reply, 0: not; until is when the time for the reply is over; zero: never.
	timeout time.Duration
	until   time.Time
	ending  bool
}

func newTxn(s *Server) *txn {
	t := &txn{s: s}
	t.request.env, t.response.env = &t.call.env, &t.reply.env
	return t
}

func (t *txn) attach(c *conn) {
	t.c = c
	c.txn = t
	t.sock.Attach(c.nc, c.raw)
	t.in.reset()
}

func (t *txn) detach() {
	t.sock.Attach(nil, nil)
	t.c.txn = nil
	t.c = nil
	for _, b := range []*[]byte{&t.whole, &t.plain, &t.packed, &t.unpacked, &t.doc, &t.w} {
		if cap(*b) > maxKept {
			*b = nil
		}
	}
}

// serve reads one call, answers it and reports whether the connection may serve another.
func (t *txn) serve() (keep bool) {
	t.close, t.linger, t.gone, t.ending = false, false, false, false
	t.result, t.status, t.aborted, t.sent, t.upstream = Failed, 0, "", 0, 0
	if err := t.readHead(); err != nil {
		return false
	}
	malformed := t.readArgs()
	t.begin()
	outcome := exchange.NotSent
	if malformed != nil {
		t.rejectMalformed(malformed)
	} else {
		outcome = t.run()
	}
	t.count()
	t.observed(outcome)
	t.end()
	return !t.close
}

// begin fills the exchange from the head.
func (t *txn) begin() {
	c, x, h := t.c, &t.x, &t.call.head
	now := time.Now()
	c.extendDeadlines(now)
	t.port = c.port()
	t.chain, t.observer = nil, nil
	x.Reset()
	if t.port != nil {
		t.chain, t.observer = t.port.Chain, t.port.Observer
	}
	service, method := h.Split()
	t.path = t.path[:0]
	if len(service) > 0 {
		t.path = append(append(t.path, '/'), service...)
	}
	t.path = append(append(t.path, '/'), method...)
	t.xcall = exchange.Call{Service: service, Method: method, Protocol: protocolName(h.Protocol), Oneway: h.Type == message.Oneway, Args: t}
	x.Context = t.s.ctx
	x.Start = now
	x.Port = c.target.Port
	x.Protocol = "Thrift"
	x.Method = method
	x.RawPath, x.Path = t.path, t.path
	x.Request = &t.request
	x.Peer, x.Client = c.peer, c.peer
	x.Call = &t.xcall
	if t.observer != nil {
		t.observer.Start(x)
	}
}

func protocolName(p message.Protocol) string {
	switch p {
	case message.Compact:
		return "compact"
	case message.JSON:
		return "json"
	}
	return "binary"
}

// run takes the call through the filters and, when they let it, to the application.
func (t *txn) run() exchange.Outcome {
	outcome := exchange.NotSent
	switch {
	case string(t.call.head.Name) == finagleUpgrade:
		t.refuseUpgrade()
	case t.filter() == exchange.Respond:
		t.respond()
	default:
		outcome = t.forward()
	}
	t.ending = true
	t.chain.End(&t.x, &t.progress, outcome)
	return outcome
}

// filter asks the filters, with the arguments where one needs them.
func (t *txn) filter() exchange.Verdict {
	x := &t.x
	if d, ok := t.withinPort(); !ok {
		x.Deny(d)
		return exchange.Respond
	}
	verdict := t.chain.Head(x, &t.progress)
	for verdict == exchange.NeedBody {
		var d exchange.Denial
		var ok bool
		if d, ok, verdict = t.buffer(t.chain.MaxBody(&t.progress)); !ok {
			x.Deny(d)
			return exchange.Respond
		}
	}
	return verdict
}

// end gives back what the call held, and leaves what was read beyond it.
func (t *txn) end() {
	t.call.end(&t.in)
	for _, f := range []*flow{&t.call, &t.reply} {
		if f.big != nil {
			t.s.chunks.Put(f.big)
			f.big = nil
		}
	}
	if t.reserved > 0 {
		t.s.reserve(-t.reserved)
		t.reserved = 0
	}
	if !t.waits.IsZero() {
		t.waits = time.Time{}
		t.c.resetDeadlines()
	}
	t.whole, t.plain, t.args = t.whole[:0], t.plain[:0], nil
	t.x.Body, t.x.Request, t.x.Response, t.x.Context, t.x.Call = nil, nil, nil, nil, nil
	t.port, t.chain, t.observer = nil, nil, nil
}

// abandon gives back what a call held that ended in a panic. The txn is not used again.
func (t *txn) abandon() {
	defer func() { _ = recover() }()
	if t.reserved > 0 {
		t.s.reserve(-t.reserved)
	}
	outcome := exchange.NotSent
	if t.up != nil {
		_ = t.up.Close()
		if t.wrote {
			outcome = exchange.SentNoReply
		}
	}
	defer func() {
		_ = recover() // A filter may panic once more.
		t.aborted = "panic"
		if t.x.Call != nil {
			t.count()
			t.observed(outcome)
		}
	}()
	if !t.ending {
		t.ending = true
		t.chain.End(&t.x, &t.progress, outcome)
	}
}

// count counts the call.
func (t *txn) count() {
	label := Other
	if t.c.names != nil {
		if name, ok := t.c.names[string(t.call.head.Name)]; ok {
			label = name
		} else if name, ok := t.c.names[string(t.xcall.Method)]; ok {
			label = name
		}
	}
	t.s.cfg.Metrics.Call(t.c.target.Port, label, t.result, t.x.Start)
}

// observed tells the observer what became of the call, after the filters' End.
func (t *txn) observed(outcome exchange.Outcome) {
	if t.observer == nil {
		return
	}
	t.observer.Done(&t.x, &exchange.Record{
		Status: t.status, GRPCStatus: -1, Outcome: outcome, RequestBytes: t.call.size, ResponseBytes: t.sent,
		Upstream: t.upstream, Duration: time.Since(t.x.Start), Aborted: t.aborted,
	})
}
