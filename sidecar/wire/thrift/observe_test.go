// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"bufio"
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http"
	"weir.dev/weir/sidecar/wire/thrift/message"
)

// observer keeps the records of calls.
type observer struct {
	mu      sync.Mutex
	paths   []string
	records []exchange.Record
	done    chan struct{}
}

func (o *observer) Start(x *exchange.Exchange) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.paths = append(o.paths, x.Protocol+" "+string(x.Method)+" "+string(x.Path))
}

func (o *observer) Done(_ *exchange.Exchange, r *exchange.Record) {
	o.mu.Lock()
	o.records = append(o.records, *r)
	o.mu.Unlock()
	o.done <- struct{}{}
}

// TestObserved: what observers are told of calls.
func TestObserved(t *testing.T) {
	o := &observer{done: make(chan struct{}, 10)}
	f := &stub{head: func(x *exchange.Exchange) exchange.Verdict {
		if string(x.Call.Method) == "deny" {
			x.Deny(exchange.Denial{Status: 429})
			return exchange.Respond
		}
		return exchange.Continue
	}}
	p := chainPorts(f)
	p.port.Observer = o
	_, front := proxy(t, Config{Ports: p}, echoApp(t, nil))
	c := dialRaw(t, front)
	br := bufio.NewReader(c)
	for _, name := range []string{"svc:echo", "deny"} {
		_, _ = c.Write(framed(binaryCall(message.Call, name, 1, "x")))
		readFrame(br)
		<-o.done
	}
	if diff := cmp.Diff([]string{"Thrift echo /svc/echo", "Thrift deny /deny"}, o.paths); diff != "" {
		t.Error(diff)
	}
	for i := range o.records {
		r := &o.records[i]
		if r.Duration <= 0 || (r.Upstream > 0) != (i == 0) {
			t.Errorf("%+v", r)
		}
		r.Duration, r.Upstream = 0, 0
	}
	want := []exchange.Record{
		{Status: 200, GRPCStatus: -1, Outcome: exchange.Replied, RequestBytes: int64(len(framed(binaryCall(message.Call, "svc:echo", 1, "x")))),
			ResponseBytes: int64(len(framed(binaryReply("svc:echo", 1, "x"))))},
		{Status: 429, GRPCStatus: -1, Outcome: exchange.NotSent, RequestBytes: int64(len(framed(binaryCall(message.Call, "deny", 1, "x")))),
			ResponseBytes: int64(len(framed(message.AppendException(nil, message.Binary, []byte("deny"), 1, 6, []byte("weir: rate limited; retry_after_ms=0")))))},
	}
	if diff := cmp.Diff(want, o.records); diff != "" {
		t.Error(diff)
	}
}

// TestConfigure: settings change under connections, and back.
func TestConfigure(t *testing.T) {
	s, front := proxy(t, Config{Ports: chainPorts(&stub{})}, echoApp(t, nil))
	ask := func() bool {
		c := dialRaw(t, front)
		defer func() { _ = c.Close() }()
		_, _ = c.Write(framed(binaryCall(message.Call, "echo", 1, "x")))
		return bytes.Equal(readFrame(bufio.NewReader(c)), binaryReply("echo", 1, "x"))
	}
	held := dialRaw(t, front)
	_, _ = held.Write(framed(binaryCall(message.Call, "echo", 1, "x")))
	readFrame(bufio.NewReader(held))
	s.Configure(http.Settings{MaxConns: 1})
	if ask() {
		t.Error("there was a second connection")
	}
	s.Configure(http.Settings{})
	if !ask() {
		t.Error("there was no second connection")
	}
	s.Configure(http.Settings{Idle: 20 * time.Millisecond})
	ends(t, dialRaw(t, front))
}
