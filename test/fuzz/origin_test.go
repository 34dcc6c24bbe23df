// SPDX-License-Identifier: Apache-2.0

package fuzz

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
)

// received is a request as net/http reads it from what Weir has sent on.
type received struct {
	*http.Request
	body []byte
	// err is why it could not be read whole.
	err error
}

// origin is an application that keeps what it reads and answers each request.
type origin struct {
	wg sync.WaitGroup

	mu   sync.Mutex
	seen []received
}

func (o *origin) dial() (net.Conn, error) {
	theirs, ours := net.Pipe()
	o.wg.Go(func() {
		defer ours.Close()
		o.serve(ours)
	})
	return theirs, nil
}

func (o *origin) serve(c net.Conn) {
	br := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(br)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) {
			return
		}
		got := received{Request: r, err: err}
		if err == nil {
			if r.Header.Get("Expect") != "" {
				_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
			}
			got.body, got.err = io.ReadAll(r.Body)
		}
		o.mu.Lock()
		o.seen = append(o.seen, got)
		o.mu.Unlock()
		if got.err != nil {
			return
		}
		answer := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
		if r.Method != http.MethodHead {
			answer += "ok"
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}
