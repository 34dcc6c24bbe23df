// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// app is an application that does with each request what its target says.
type app struct {
	ln   net.Listener
	wg   sync.WaitGroup
	fail func(format string, args ...any)
	// strict: it gets whole heads and well-formed bodies only.
	strict bool
	// open is how many connections it has.
	open atomic.Int64
	// closed: it will accept no more.
	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
}

func newApp(fail func(string, ...any), strict bool) (*app, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &app{ln: ln, fail: fail, strict: strict, conns: map[net.Conn]bool{}}
	a.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			a.wg.Go(func() { a.serve(c.(*net.TCPConn)) })
		}
	})
	return a, nil
}

// close ends it, connections too.
func (a *app) close() {
	_ = a.ln.Close()
	a.mu.Lock()
	a.closed = true
	for c := range a.conns {
		_ = c.Close()
	}
	a.mu.Unlock()
	a.wg.Wait()
}

func (a *app) track(c net.Conn, on bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if on && a.closed {
		return false
	}
	if on {
		a.conns[c] = true
		a.open.Add(1)
	} else {
		delete(a.conns, c)
		a.open.Add(-1)
	}
	return true
}

func (a *app) serve(c *net.TCPConn) {
	defer c.Close()
	if !a.track(c, true) {
		return
	}
	defer a.track(c, false)
	br := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(br)
		if err != nil {
			// A client that leaves in its head is not forwarded at all.
			if a.strict && !over(err) {
				a.fail("the application cannot read a request: %v", err)
			}
			return
		}
		asked, err := parseCall(r.RequestURI)
		if err != nil {
			if a.strict {
				a.fail("the application cannot read a target: %v", err)
			}
			return
		}
		if asked.reply == "tunnel" {
			tunnel(c, br, asked)
			return
		}
		if !a.answer(c, r, asked) {
			return
		}
	}
}

// tunnel switches protocols and says what it hears.
func tunnel(c *net.TCPConn, br *bufio.Reader, asked *call) {
	_, _ = fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Id: %d\r\n\r\n", asked.id)
	_, _ = io.Copy(c, br)
}

// over reports whether err is that of a connection that has ended.
func over(err error) bool {
	var ne *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &ne)
}

// answer does what the target says, and reports whether the connection goes on.
func (a *app) answer(c *net.TCPConn, r *http.Request, asked *call) bool {
	if replies[asked.reply] != answered {
		a.misbehave(c, r, asked)
		return false
	}
	if asked.reply == "early" {
		_, err := c.Write(head(r, asked, "200 OK", asked.down, ""))
		if err == nil && r.Method != http.MethodHead {
			_, err = c.Write(asked.downBody())
		}
		return err == nil && a.take(c, r, asked)
	}
	return a.take(c, r, asked) && reply(c, r, asked)
}

// take reads the request's body and holds it against what it must be. One that
// ended early is the client's doing.
func (a *app) take(c net.Conn, r *http.Request, asked *call) bool {
	if r.Header.Get("Expect") == "100-continue" {
		if _, err := io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return false
		}
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		if a.strict && !over(err) {
			a.fail("%s: the application cannot read the body: %v", r.RequestURI, err)
		}
		return false
	}
	if err := upload(r, asked, b); err != nil {
		a.fail("%s: the application got another body: %v", r.RequestURI, err)
	}
	return true
}

// upload holds a whole body, and the trailer of one whose length was not said,
// against what they must be.
func upload(r *http.Request, asked *call, b []byte) error {
	if !bytes.Equal(b, asked.upBody()) {
		return fmt.Errorf("%d bytes: %.40q", len(b), b)
	}
	if want := strconv.FormatUint(asked.id, 10); r.ContentLength < 0 && r.Trailer.Get("X-T") != want {
		return fmt.Errorf("trailer %v, want %s", r.Trailer, want)
	}
	return nil
}

// head is that of a response of n bytes, in chunks where n is negative.
func head(r *http.Request, asked *call, status string, n int, more string) []byte {
	b := fmt.Appendf(nil, "HTTP/1.1 %s\r\nX-Id: %d\r\n%s", status, asked.id, more)
	switch {
	case n >= 0:
		b = fmt.Appendf(b, "Content-Length: %d\r\n", n)
	case r.ProtoAtLeast(1, 1):
		b = append(b, "Transfer-Encoding: chunked\r\nTrailer: X-T\r\n"...)
	}
	return append(b, "\r\n"...)
}

// reply is a good answer; it reports whether the connection goes on.
func reply(c net.Conn, r *http.Request, asked *call) bool {
	w := bufio.NewWriterSize(c, 16<<10)
	body := asked.downBody()
	if r.Method == http.MethodHead {
		body = nil
	}
	goesOn := true
	switch asked.reply {
	case "chunked", "events":
		_, _ = w.Write(head(r, asked, "200 OK", -1, ""))
		if r.Method != http.MethodHead {
			chunks(w, asked, body)
		}
	case "close":
		_, _ = w.Write(head(r, asked, "200 OK", asked.down, "Connection: close\r\n"))
		_, _ = w.Write(body)
		goesOn = false
	case "http10":
		_, _ = fmt.Fprintf(w, "HTTP/1.0 200 OK\r\nX-Id: %d\r\n\r\n", asked.id)
		_, _ = w.Write(body)
		goesOn = false
	case "interim":
		_, _ = io.WriteString(w, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
		_ = w.Flush()
		_, _ = w.Write(head(r, asked, "200 OK", asked.down, ""))
		_, _ = w.Write(body)
	case "drip":
		_, _ = w.Write(head(r, asked, "200 OK", asked.down, ""))
		for i := range body {
			_ = w.WriteByte(body[i])
			_ = w.Flush()
		}
	case "empty":
		_, _ = fmt.Fprintf(w, "HTTP/1.1 204 No Content\r\nX-Id: %d\r\n\r\n", asked.id)
	case "unchanged":
		_, _ = fmt.Fprintf(w, "HTTP/1.1 304 Not Modified\r\nX-Id: %d\r\nContent-Length: 7\r\n\r\n", asked.id)
	case "slow":
		time.Sleep(20 * time.Millisecond)
		fallthrough
	default:
		_, _ = w.Write(head(r, asked, "200 OK", asked.down, ""))
		_, _ = w.Write(body)
	}
	return w.Flush() == nil && goesOn
}

// chunks writes body in some; events have time between them.
func chunks(w *bufio.Writer, asked *call, body []byte) {
	step := 16
	if asked.reply == "chunked" {
		step = max(1, len(body)/7)
	}
	for len(body) > 0 {
		n := min(step, len(body))
		_, _ = fmt.Fprintf(w, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
		if asked.reply == "events" {
			_ = w.Flush()
			time.Sleep(3 * time.Millisecond)
		}
	}
	_, _ = fmt.Fprintf(w, "0\r\nX-T: %d\r\n\r\n", asked.id)
}

// misbehave is what an application does that fails.
func (a *app) misbehave(c *net.TCPConn, r *http.Request, asked *call) {
	body := asked.downBody()
	half := body[:len(body)/2]
	switch asked.reply {
	case "reset":
		_ = c.SetLinger(0)
	case "halfhead":
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Id")
	case "garbage":
		_, _ = io.WriteString(c, "220 smtp ready\r\n\r\n")
	case "short", "shortreset":
		_, _ = c.Write(append(head(r, asked, "200 OK", len(body)+1, ""), half...))
		if asked.reply == "shortreset" {
			time.Sleep(time.Millisecond)
			_ = c.SetLinger(0)
		}
	case "shortchunk":
		_, _ = c.Write(fmt.Appendf(head(r, asked, "200 OK", -1, ""), "%x\r\n%s", len(half)+1, half))
	case "deaf":
		_, _ = c.Write(append(head(r, asked, "200 OK", len(body), "Connection: close\r\n"), body...))
	}
}
