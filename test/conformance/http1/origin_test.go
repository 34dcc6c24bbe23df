// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// received is what one connection brought, by request: a piece ends where the
// origin answered.
type received struct {
	bytes.Buffer
	pieces [][]byte
	// whole is how many of them are requests that the origin read whole.
	whole int
}

// split ends a piece. What is buffered belongs to the next.
func (r *received) split(buffered int) {
	b := r.Bytes()
	r.pieces = append(r.pieces, slices.Clone(b[:len(b)-buffered]))
	r.Next(len(b) - buffered)
}

// first is the first piece, nil where nothing came.
func (r *received) first() []byte {
	if len(r.pieces) == 0 {
		return nil
	}
	return r.pieces[0]
}

// origin is an application that keeps every byte it gets, by connection.
type origin struct {
	ln net.Listener
	wg sync.WaitGroup

	mu      sync.Mutex
	conns   []*received
	answers [][][]byte
	// answered tells when an answer of the script has been written.
	answered chan struct{}
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"

func newOrigin(t testing.TB, script []string) *origin {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{ln: ln, answered: make(chan struct{}, len(script))}
	for _, s := range script {
		pieces, err := unescape(s)
		if err != nil {
			t.Fatal(err)
		}
		o.answers = append(o.answers, pieces)
	}
	o.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			kept := &received{}
			o.mu.Lock()
			o.conns = append(o.conns, kept)
			o.mu.Unlock()
			o.wg.Go(func() { o.serve(c, kept) })
		}
	})
	return o
}

// serve answers requests as long as net/http can read them, and keeps the rest.
func (o *origin) serve(c net.Conn, kept *received) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	br := bufio.NewReader(io.TeeReader(c, kept))
	for {
		r, err := http.ReadRequest(br)
		if err == nil {
			_, err = io.Copy(io.Discard, r.Body)
		}
		if err == nil {
			kept.split(br.Buffered())
			kept.whole++
		}
		if err != nil || !o.answer(c, r.Method) {
			_, _ = io.Copy(io.Discard, br)
			if kept.Len() > 0 {
				kept.split(0)
			}
			return
		}
	}
}

// answer writes the next answer of the script. It reports false when that ends
// the connection.
func (o *origin) answer(c net.Conn, method string) bool {
	o.mu.Lock()
	var script [][]byte
	if len(o.answers) > 0 {
		script, o.answers = o.answers[0], o.answers[1:]
	}
	o.mu.Unlock()
	if script == nil {
		body := "ok"
		if method == http.MethodHead {
			body = ""
		}
		_, err := io.WriteString(c, ok+body)
		return err == nil
	}
	defer func() { o.answered <- struct{}{} }()
	for i, p := range script {
		if i > 0 {
			time.Sleep(pause)
		}
		p, ends := bytes.CutSuffix(p, []byte("\x1a"))
		_, _ = c.Write(p)
		if ends {
			_ = c.(*net.TCPConn).CloseWrite()
			return false
		}
	}
	return true
}

// received ends the origin and returns what each connection brought. The proxy
// must have closed them.
func (o *origin) received() []*received {
	_ = o.ln.Close()
	o.wg.Wait()
	return o.conns
}
