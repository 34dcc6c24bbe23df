// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// client is one connection's user.
type client struct {
	w    *world
	port uint16
	// nap is between two pieces that it writes or reads; 0: all at once.
	nap time.Duration
	// piece is how much it writes or reads at a time; 0: all.
	piece int

	c  *net.TCPConn
	br *bufio.Reader
	// served is how many calls the connection has carried.
	served int
	addr   string
	// since is when it began, governed that a filter has seen one of its calls.
	since    time.Time
	governed bool
}

// Read is what the client reads with: as slowly as it is.
func (k *client) Read(p []byte) (int, error) {
	if k.piece > 0 {
		time.Sleep(k.nap)
		p = p[:min(len(p), k.piece)]
	}
	return k.c.Read(p)
}

func (k *client) Write(p []byte) (int, error) {
	if k.piece == 0 {
		return k.c.Write(p)
	}
	n := 0
	for n < len(p) {
		m, err := k.c.Write(p[n:min(len(p), n+k.piece)])
		if n += m; err != nil {
			return n, err
		}
		time.Sleep(k.nap)
	}
	return n, nil
}

func (k *client) connect() error {
	if k.c != nil {
		return nil
	}
	c, err := net.Dial("tcp", k.w.fronts[k.port])
	if err != nil {
		return err
	}
	k.c, k.served, k.addr = c.(*net.TCPConn), 0, c.LocalAddr().String()
	k.since, k.governed = time.Now(), false
	k.br = bufio.NewReaderSize(k, 4<<10)
	return nil
}

func (k *client) close() {
	if k.c != nil {
		_ = k.c.Close()
		k.c = nil
	}
}

// requestHead is c's, up to and with the empty line.
func requestHead(c *call) []byte {
	b := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: soak\r\nX-Client-Id: %d\r\n", c.method, c.target(), c.id%50)
	if c.expect {
		b = append(b, "Expect: 100-continue\r\n"...)
	}
	switch {
	case c.chunked:
		b = append(b, "Transfer-Encoding: chunked\r\nTrailer: X-T\r\n"...)
	case c.up > 0:
		b = fmt.Appendf(b, "Content-Length: %d\r\n", c.up)
	}
	return append(b, "\r\n"...)
}

// requestBody is c's with its framing.
func requestBody(c *call) []byte {
	body := c.upBody()
	if !c.chunked {
		return body
	}
	var b []byte
	for len(body) > 0 {
		n := min(len(body), 1+len(body)/2, 40_000)
		b = fmt.Appendf(b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return fmt.Appendf(b, "0\r\nX-T: %d\r\n\r\n", c.id)
}

// errClosed: the connection ended before the first byte of an answer.
var errClosed = errors.New("closed before the answer")

// run makes calls one after another, as many at once as pipelined.
func (k *client) run(ctx context.Context, next func() []*call) {
	defer k.close()
	for ctx.Err() == nil {
		calls := next()
		for _, c := range calls {
			k.w.ledger.begin(c, k.port == always)
		}
		err := k.do(calls)
		k.governed = k.governed || k.w.ledger.seen(calls)
		switch {
		case err == nil:
		case k.mayBeRetired(err):
			k.w.retired.Add(1)
		default:
			k.w.fail("port %d, %s, after %d others from %s: %v", k.port, calls[0].target(), k.served, k.addr, err)
		}
		for _, c := range calls {
			k.w.ledger.finish(c)
		}
		if err != nil {
			k.close()
		}
	}
}

// mayBeRetired: a spliced connection that a policy has come over ends where the
// application has been quiet for 200 ms, which a busy machine makes it, but not
// within its first second. One whose calls filters have seen was never spliced.
func (k *client) mayBeRetired(err error) bool {
	return k.port == sometimes && !k.governed && time.Since(k.since) >= time.Second &&
		(errors.Is(err, errClosed) || over(err)) && !errors.Is(err, os.ErrDeadlineExceeded)
}

// do sends calls and holds the answers against what they must be.
func (k *client) do(calls []*call) error {
	if err := k.connect(); err != nil {
		return err
	}
	_ = k.c.SetDeadline(time.Now().Add(2 * time.Minute))
	var sending sync.WaitGroup
	defer sending.Wait()
	conn := k.c
	// What could not be sent shows in the answers.
	sending.Go(func() { k.send(calls) })
	for i, c := range calls {
		more, err := k.receive(c)
		if err != nil {
			_ = conn.Close()
			return err
		}
		k.served++
		if !more {
			k.close()
			if i < len(calls)-1 {
				return fmt.Errorf("the connection ended after %d of %d answers", i+1, len(calls))
			}
		}
	}
	return nil
}

func (k *client) send(calls []*call) {
	c := &client{c: k.c, nap: k.nap, piece: k.piece}
	var b []byte
	for _, call := range calls {
		b = append(append(b, requestHead(call)...), requestBody(call)...)
	}
	_, _ = c.Write(b)
}

// receive reads the answer to c, and reports whether the connection goes on.
func (k *client) receive(c *call) (more bool, err error) {
	if _, err := k.br.Peek(1); err != nil {
		if replies[c.reply] != answered {
			return false, fmt.Errorf("no answer: %w", err)
		}
		return false, fmt.Errorf("%w: %w", errClosed, err)
	}
	resp, err := final(k.br, c.method)
	if err != nil {
		if cls := replies[c.reply]; cls == torn || cls == either {
			return false, nil
		}
		return false, fmt.Errorf("the answer cannot be read: %w", err)
	}
	body, err := io.ReadAll(resp.Body)
	return err == nil && !resp.Close, judge(c, resp, body, err)
}

// judge holds an answer, which err says was broken off, against what it can be.
func judge(c *call, resp *http.Response, body []byte, err error) error {
	switch cls := replies[c.reply]; {
	case c.limited && resp.StatusCode == http.StatusTooManyRequests:
		return err
	case cls == answered:
		return good(c, resp, body, err)
	case cls == torn && resp.StatusCode == 200 && err == nil:
		return errors.New("half an answer was taken for a whole one")
	case cls == either && resp.StatusCode == 200 && err == nil:
		return good(c, resp, body, err)
	case cls == unanswered && resp.StatusCode != http.StatusBadGateway:
		return fmt.Errorf("got %d, want 502", resp.StatusCode)
	}
	return nil
}

// good holds an answer against the call's own.
func good(c *call, resp *http.Response, body []byte, err error) error {
	want := c.downBody()
	status := map[string]int{"empty": 204, "unchanged": 304}[c.reply]
	if status == 0 {
		status = 200
	}
	if c.method == http.MethodHead {
		want = nil
	}
	switch {
	case err != nil:
		return fmt.Errorf("got %d and %d bytes of %d: %w", resp.StatusCode, len(body), len(want), err)
	case resp.StatusCode != status || !bytes.Equal(body, want):
		return fmt.Errorf("got %d and %d bytes (%.60q), want %d and %d", resp.StatusCode, len(body), body, status, len(want))
	case resp.Header.Get("X-Id") != strconv.FormatUint(c.id, 10):
		return fmt.Errorf("got the answer to %s", resp.Header.Get("X-Id"))
	case (c.reply == "chunked" || c.reply == "events") && c.method != http.MethodHead && resp.Trailer.Get("X-T") != strconv.FormatUint(c.id, 10):
		return fmt.Errorf("got trailer %v", resp.Trailer)
	}
	return nil
}

// final reads responses up to the first that is not interim.
func final(br *bufio.Reader, method string) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil || resp.StatusCode >= 200 {
			return resp, err
		}
	}
}

// wreck starts calls and leaves at any moment, by a reset or by closing.
func (w *world) wreck(ctx context.Context, port uint16) {
	for ctx.Err() == nil {
		c := random(reckless + uint64(w.ids.Add(1)))
		if c.method != http.MethodHead && rand.IntN(3) == 0 {
			c.reply = pick(wrong)
		}
		w.ledger.begin(c, false)
		w.leave(port, c)
		w.ledger.finish(c)
	}
}

func (w *world) leave(port uint16, c *call) {
	nc, err := net.Dial("tcp", w.fronts[port])
	if err != nil {
		w.fail("%v", err)
		return
	}
	conn := nc.(*net.TCPConn)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	raw := append(requestHead(c), requestBody(c)...)
	if rand.IntN(2) == 0 {
		raw = raw[:rand.IntN(len(raw))]
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = conn.Write(raw)
	}()
	if rand.IntN(2) == 0 {
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, _ = io.CopyN(io.Discard, conn, int64(1+rand.IntN(500)))
	} else {
		time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
	}
	switch rand.IntN(3) {
	case 0:
		_ = conn.SetLinger(0)
	case 1:
		_ = conn.CloseWrite()
		time.Sleep(time.Millisecond)
	}
	_ = conn.Close()
	<-done
}
