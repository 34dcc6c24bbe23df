// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"
)

func unencrypted() *http.Protocols {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	return &p
}

// nativeApp speaks HTTP/2 without TLS.
type nativeApp struct {
	*httptest.Server
	addr string
	fail func(format string, args ...any)
}

func newNativeApp(t *testing.T, fail func(string, ...any)) *nativeApp {
	a := &nativeApp{fail: fail}
	a.Server = httptest.NewUnstartedServer(a)
	a.Config.Protocols = unencrypted()
	a.Start()
	a.addr = a.Listener.Addr().String()
	if a.addr == "" {
		t.Fatal("the application has no address")
	}
	return a
}

func (a *nativeApp) close() {
	a.CloseClientConnections()
	a.Close()
}

// ServeHTTP does what the target says.
func (a *nativeApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asked, err := parseCall(r.RequestURI)
	if err != nil {
		a.fail("the application cannot read a target: %v", err)
		return
	}
	w.Header().Set("X-Id", strconv.FormatUint(asked.id, 10))
	if asked.reply == "chat" {
		chat(w, r)
		return
	}
	if asked.reply == "reset" {
		panic(http.ErrAbortHandler)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		// The client has left.
		panic(http.ErrAbortHandler)
	}
	if err := upload(r, asked, b); err != nil {
		a.fail("%s: the application got another body: %v", r.RequestURI, err)
	}
	body := asked.downBody()
	w.Header().Set("Trailer", "X-T")
	switch asked.reply {
	case "empty":
		w.WriteHeader(http.StatusNoContent)
		return
	case "slow":
		time.Sleep(20 * time.Millisecond)
	case "shortreset":
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case "events":
		for len(body) > 16 {
			_, _ = w.Write(body[:16])
			_ = http.NewResponseController(w).Flush()
			time.Sleep(3 * time.Millisecond)
			body = body[16:]
		}
	}
	_, _ = w.Write(body)
	w.Header().Set("X-T", strconv.FormatUint(asked.id, 10))
}

// chat is a gRPC stream that says each message again.
func chat(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	flush := http.NewResponseController(w).Flush
	_ = flush()
	for {
		m, err := message(r.Body)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(m)
		_ = flush()
	}
	w.Header().Set("Grpc-Status", "0")
}

// message reads one message of a gRPC stream with its prefix.
func message(r io.Reader) ([]byte, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	m := make([]byte, 5+binary.BigEndian.Uint32(head[1:]))
	copy(m, head)
	_, err := io.ReadFull(r, m[5:])
	return m, err
}

// transport is a client of its own whose connections can be torn.
type transport struct {
	http.Transport
	mu    sync.Mutex
	conns []*net.TCPConn
	// ended: what is dialed for a call that was left is closed.
	ended bool
}

func newTransport() *transport {
	t := &transport{}
	t.Protocols = unencrypted()
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.ended {
			_ = c.Close()
			return nil, net.ErrClosed
		}
		t.conns = append(t.conns, c.(*net.TCPConn))
		return c, nil
	}
	return t
}

// tear ends all connections by a reset.
func (t *transport) tear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.conns {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}

// end is tear for good.
func (t *transport) end() {
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	t.tear()
	t.CloseIdleConnections()
}

// random2 returns a call for HTTP/2.
func (w *world) random2(port uint16, id uint64, fails bool) *call {
	c := random(id)
	if port == streams {
		c.reply = pick(native)
	}
	switch {
	case !fails:
	case port == streams:
		c.reply, c.limited = pick(aborted), false
	default:
		c.reply, c.limited = pick(wrong), false
	}
	if fails {
		c.method, c.up, c.chunked = http.MethodGet, 0, false
	}
	c.fit()
	return c
}

func (w *world) request2(ctx context.Context, port uint16, c *call) (*http.Request, error) {
	var body io.Reader
	switch {
	case c.chunked:
		body = io.MultiReader(bytes.NewReader(c.upBody()))
	case c.up > 0:
		body = bytes.NewReader(c.upBody())
	}
	r, err := http.NewRequestWithContext(ctx, c.method, "http://"+w.fronts[port]+c.target(), body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-Client-Id", strconv.FormatUint(c.id%50, 10))
	if c.chunked {
		r.Trailer = http.Header{"X-T": {strconv.FormatUint(c.id, 10)}}
	}
	return r, nil
}

// http2 makes several calls at once over one connection, one after the other in
// each of some lanes.
func (w *world) http2(ctx context.Context, port uint16) {
	t := newTransport()
	defer t.CloseIdleConnections()
	var wg sync.WaitGroup
	for lane := range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				id := uint64(w.ids.Add(1))
				if lane == 3 && port == streams {
					w.converse(t, id)
					continue
				}
				c := w.random2(port, id, lane == 2)
				w.ledger.begin(c, true)
				if err := w.do2(t, port, c); err != nil {
					w.fail("HTTP/2, port %d, %s: %v", port, c.target(), err)
				}
				w.ledger.finish(c)
			}
		})
	}
	wg.Wait()
}

func (w *world) do2(t *transport, port uint16, c *call) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	r, err := w.request2(ctx, port, c)
	if err != nil {
		return err
	}
	resp, err := t.RoundTrip(r)
	if err != nil {
		if cls := replies[c.reply]; cls == torn || cls == either {
			return nil
		}
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return judge(c, resp, body, err)
}

// converse is a gRPC stream of some messages, each of which has its answer before
// the next is said.
func (w *world) converse(t *transport, id uint64) {
	c := &call{id: id, reply: "chat", method: http.MethodPost}
	w.ledger.begin(c, true)
	defer w.ledger.finish(c)
	if err := w.chat2(t, c); err != nil {
		w.fail("gRPC, %s: %v", c.target(), err)
	}
}

func (w *world) chat2(t *transport, c *call) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	up, say := io.Pipe()
	defer say.Close()
	r, err := http.NewRequestWithContext(ctx, c.method, "http://"+w.fronts[streams]+c.target(), up)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("TE", "trailers")
	resp, err := t.RoundTrip(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for i := range 1 + rand.IntN(8) {
		text := payload(c.id+uint64(i)<<32, rand.IntN(3000))
		m := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(text))), text...)
		if _, err := say.Write(m); err != nil {
			return err
		}
		got, err := message(resp.Body)
		if err != nil || !bytes.Equal(got, m) {
			return fmt.Errorf("message %d: got %d bytes of %d: %w", i, len(got), len(m), err)
		}
	}
	_ = say.Close()
	rest, err := io.ReadAll(resp.Body)
	if status := resp.Trailer.Get("Grpc-Status"); err != nil || len(rest) > 0 || status != "0" {
		return fmt.Errorf("the stream ended with %d bytes more and status %q: %w", len(rest), status, err)
	}
	return nil
}

// wreck2 leaves calls at any moment: by RST_STREAM, or with the connection.
func (w *world) wreck2(ctx context.Context, port uint16) {
	for ctx.Err() == nil {
		t := newTransport()
		part, cancel := context.WithTimeout(context.Background(), time.Minute)
		var wg sync.WaitGroup
		for range 3 {
			c := w.random2(port, reckless+uint64(w.ids.Add(1)), rand.IntN(4) == 0)
			wg.Go(func() {
				w.ledger.begin(c, false)
				defer w.ledger.finish(c)
				r, err := w.request2(part, port, c)
				if err != nil {
					w.fail("%v", err)
					return
				}
				if resp, err := t.RoundTrip(r); err == nil {
					_, _ = io.CopyN(io.Discard, resp.Body, int64(rand.IntN(2000)))
					_ = resp.Body.Close()
				}
			})
		}
		time.Sleep(time.Duration(rand.IntN(8)) * time.Millisecond)
		if rand.IntN(2) == 0 {
			t.tear()
		}
		cancel()
		wg.Wait()
		t.end()
	}
}
