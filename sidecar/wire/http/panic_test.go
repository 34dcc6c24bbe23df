// SPDX-License-Identifier: Apache-2.0

package http

import (
	"io"
	nethttp "net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/sidecar/exchange"
)

// wonderer panics when the application has not answered.
type wonderer struct{ nopFilter }

func (*wonderer) Unanswered(*exchange.Exchange) { panic("x") }

// A panic after the application's connection was let go of does not make a request one
// that was never sent: it would be sent again. One before the next is sent does not make
// that one sent.
func TestPanicAfterRequestWasSent(t *testing.T) {
	f := &testFilter{ended: make(chan struct{}, 3), head: func(x *exchange.Exchange) exchange.Verdict {
		if string(x.Path) == "/head" {
			panic("x")
		}
		return exchange.Continue
	}}
	first := &testFilter{ended: make(chan struct{}, 3)}
	_, front := proxy(t, Config{Ports: chainPorts(first, f, &wonderer{})}, app(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if r.URL.Path == "/close" {
			panic(nethttp.ErrAbortHandler)
		}
	}))
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "POST /close HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab")
	if b, _ := io.ReadAll(br); len(b) > 0 {
		t.Errorf("got %q", b)
	}
	<-first.ended
	c, br = dialRaw(t, front)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	readResponse(t, br, "GET")
	<-first.ended
	_, _ = io.WriteString(c, "GET /head HTTP/1.1\r\nHost: h\r\n\r\n")
	_, _ = io.ReadAll(br)
	<-first.ended
	want := []exchange.Outcome{exchange.SentNoReply, exchange.Replied, exchange.NotSent}
	if diff := cmp.Diff(want, first.told()); diff != "" {
		t.Error(diff)
	}
}
