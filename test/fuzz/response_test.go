// SPDX-License-Identifier: Apache-2.0

package fuzz

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"weir.dev/weir/sidecar/exchange"
)

// FuzzResponses: bytes of an application, through Weir to a client that asks twice
// on one connection. The client reads what net/http reads from the application, or
// Weir's own answer, and the second answer is not made of the first one's rest.
func FuzzResponses(f *testing.F) {
	for _, s := range responseSeeds {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, head bool) {
		method := http.MethodGet
		if head {
			method = http.MethodHead
		}
		app := newScripted(t, raw, method)
		w := newWeir(exchange.Port{})
		w.dial = app.dial
		requests, out := w.serve([]byte(method + " /first HTTP/1.1\r\nHost: h\r\n\r\nGET /second HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"))
		w.shutdown()
		app.close()
		defer func() {
			if t.Failed() {
				t.Logf("%+v\n%q", requests, out)
			}
		}()
		br := bufio.NewReader(bytes.NewReader(out))
		if len(requests) == 0 || !sameResponse(t, br, raw, method, requests[0]) {
			return
		}
		if len(requests) == 2 {
			second(t, br, requests[1])
		}
		if rest, _ := io.ReadAll(br); len(rest) > 0 {
			t.Errorf("the client gets %q that nobody asked for", rest)
		}
	})
}

var responseSeeds = []string{
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
	"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
	"HTTP/1.0 200\r\n\r\nuntil close",
	"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\noka",
	"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nbytes",
	"HTTP/1.1 200 OK\r\nConnection: X-A\r\nX-A: 1\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"HTTP/2 200\r\n\r\n",
	"220 smtp\r\n",
}

// sameResponse holds the first response against what net/http reads from the
// application; it reports whether another can follow.
func sameResponse(t *testing.T, br *bufio.Reader, raw []byte, method string, s served) bool {
	if s.status == 0 {
		if br.Buffered() > 0 {
			t.Error("a response was begun, and Weir says that none was")
		}
		return false
	}
	ours, err := final(br, method)
	if err != nil {
		if s.outcome == exchange.Replied {
			t.Errorf("the client cannot read the response: %v", err)
		}
		return false
	}
	got, gotErr := io.ReadAll(ours.Body)
	if ours.StatusCode != s.status {
		t.Errorf("the client reads %d, Weir says %d", ours.StatusCode, s.status)
	}
	if ours.Header.Get("Content-Type") == "application/problem+json" && s.status >= 502 && s.outcome != exchange.Replied {
		return gotErr == nil && !ours.Close
	}
	theirs, err := final(bufio.NewReader(bytes.NewReader(raw)), method)
	if err != nil {
		t.Errorf("net/http reads no response (%v), the client gets %d %q", err, s.status, got)
		return false
	}
	want, wantErr := io.ReadAll(theirs.Body)
	if ours.StatusCode != theirs.StatusCode || !bytes.HasPrefix(want, got) {
		t.Errorf("got %d %q, want %d %q", ours.StatusCode, got, theirs.StatusCode, want)
	}
	whole := s.outcome == exchange.Replied
	if whole && (gotErr != nil || wantErr != nil || !bytes.Equal(got, want)) || !whole && gotErr == nil {
		t.Errorf("it is %v, and the client gets %q, %v; theirs %q, %v", s.outcome, got, gotErr, want, wantErr)
	}
	return whole && !ours.Close
}

// second holds the answer to the second request: the application's own, from a
// connection of its own, or Weir's.
func second(t *testing.T, br *bufio.Reader, s served) {
	resp, err := final(br, http.MethodGet)
	if err != nil {
		t.Errorf("the client cannot read the second response: %v", err)
		return
	}
	body, err := io.ReadAll(resp.Body)
	if s.outcome == exchange.Replied && (err != nil || resp.StatusCode != 200 || string(body) != "second") {
		t.Errorf("the second request got %d %q, %v", resp.StatusCode, body, err)
	}
}

// scripted is an application that sends raw to the first request and answers the
// others well.
type scripted struct {
	ln   net.Listener
	done chan struct{}
}

const good = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond"

func newScripted(t *testing.T, raw []byte, method string) *scripted {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{ln: ln, done: make(chan struct{})}
	keeps := isWhole(raw, method)
	go func() {
		defer close(s.done)
		answer := string(raw)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			answerConn(c, answer, keeps)
			answer = good
		}
	}()
	return s
}

// answerConn keeps the connection for one request more where the answer allows it.
func answerConn(c net.Conn, answer string, keeps bool) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	br := bufio.NewReader(c)
	if _, err := http.ReadRequest(br); err != nil {
		return
	}
	_, _ = io.WriteString(c, answer)
	if !keeps {
		return
	}
	if _, err := http.ReadRequest(br); err == nil {
		_, _ = io.WriteString(c, good)
	}
}

// isWhole reports whether the end of a response is known without that of its
// connection.
func isWhole(raw []byte, method string) bool {
	resp, err := final(bufio.NewReader(bytes.NewReader(raw)), method)
	if err != nil || resp.Close {
		return false
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil
}

func (s *scripted) dial() (net.Conn, error) {

	return net.Dial("tcp", s.ln.Addr().String())
}

func (s *scripted) close() {
	_ = s.ln.Close()
	<-s.done
}
