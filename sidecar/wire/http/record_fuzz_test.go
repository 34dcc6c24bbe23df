// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"bytes"
	"io"
	nethttp "net/http"
	"strings"
	"testing"
	"time"

	"weir.dev/weir/sidecar/exchange"
)

// relayed is what a client gets of raw, which an application has sent.
func relayed(t *testing.T, s *Server, request string, raw []byte) (exchange.Outcome, []byte) {
	var out bytes.Buffer
	c := newConn(s, writeConn{bytesConn{strings.NewReader(request)}, &out}, Target{Port: testPort, Upstream: "10.0.0.1:80"})
	x := newTxn(s)
	x.attach(c)
	if !x.readHead() {
		t.Fatal("the request was refused")
	}
	x.begin()
	x.up.start, x.up.method, x.up.client, x.up.pool = time.Now(), x.target.method, x, s.pool(c.target.Upstream)
	x.up.br.Reset(bytes.NewReader(raw))
	x.chain.Head(&x.x, &x.progress)
	outcome := x.relay()
	x.chain.End(&x.x, &x.progress, outcome)
	return outcome, out.Bytes()
}

// FuzzRecord: who records changes nothing for the client, and is shown what the
// client can read.
func FuzzRecord(f *testing.F) {
	for _, raw := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nok\r\n1\r\n!\r\n0\r\nX-T: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.0 200\r\n\r\nuntil close",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", bulk+5),
	} {
		for request := range byte(3) {
			f.Add([]byte(raw), request)
		}
	}
	requests := []string{"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"}
	rec := newRecorder()
	plain, recorded := New(Config{Ports: chainPorts(&nopFilter{})}), New(Config{Ports: chainPorts(rec)})
	f.Cleanup(plain.cancel)
	f.Cleanup(recorded.cancel)
	f.Fuzz(func(t *testing.T, raw []byte, which byte) {
		request := requests[int(which)%len(requests)]
		wantOutcome, want := relayed(t, plain, request, raw)
		outcome, got := relayed(t, recorded, request, raw)
		log := <-rec.ended
		if outcome != wantOutcome {
			t.Fatalf("outcome %v, want %v", outcome, wantOutcome)
		}
		var body string
		ended := false
		for _, s := range log {
			if strings.HasPrefix(s, "body ") {
				body = s[len("body "):]
			}
			ended = ended || strings.HasPrefix(s, "end")
		}
		if ended != (outcome == exchange.Replied) {
			t.Errorf("%v: %q", outcome, log)
		}
		if outcome != exchange.Replied {
			return
		}
		ask := &nethttp.Request{Method: request[:strings.IndexByte(request, ' ')]}
		ours, err := final(bufio.NewReader(bytes.NewReader(got)), ask)
		theirs, wantErr := final(bufio.NewReader(bytes.NewReader(want)), ask)
		if wantErr != nil {
			return
		}
		if err != nil {
			t.Fatalf("the client cannot read it: %v\n%q", err, got)
		}
		wantBody, _ := io.ReadAll(theirs.Body)
		gotBody, _ := io.ReadAll(ours.Body)
		if !bytes.Equal(wantBody, gotBody) || string(gotBody) != body || ours.StatusCode != theirs.StatusCode {
			t.Errorf("got %d %q, recorded %q, want %d %q", ours.StatusCode, gotBody, body, theirs.StatusCode, wantBody)
		}
	})
}
