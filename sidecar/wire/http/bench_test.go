// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bytes"
	"io"
	"net"
	"testing"

	"weir.dev/weir/sidecar/exchange"
)

// nopRecorder records, and does nothing with it.
type nopRecorder struct{ nopFilter }

func (*nopRecorder) Head(x *exchange.Exchange) exchange.Verdict {
	x.Record = true
	return exchange.Continue
}
func (*nopRecorder) ResponseBody(*exchange.Exchange, []byte) {}
func (*nopRecorder) ResponseEnd(*exchange.Exchange) bool     { return true }
func (*nopRecorder) Overdue(*exchange.Exchange)              {}

// BenchmarkExchange is a request from a client on loopback through a Server to an
// application, both of them as cheap as they can be, so that what it counts is the
// proxy's. On the hot path allocs/op is 0.
func BenchmarkExchange(b *testing.B) {
	big := bytes.Repeat([]byte("x"), 16<<10)
	for name, bench := range map[string]struct {
		request, response string
		filter            exchange.Filter
	}{
		"get": {
			"GET /users/42?x=y HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench\r\nAccept: */*\r\nX-Client-Id: 7\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 68\r\n\r\n" + string(big[:68]), &nopFilter{},
		},
		"post": {
			"POST /orders HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/json\r\nContent-Length: 512\r\n\r\n" + string(big[:512]),
			"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 512\r\n\r\n" + string(big[:512]), &nopFilter{},
		},
		"post, recorded": {
			"POST /orders HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/json\r\nContent-Length: 512\r\n\r\n" + string(big[:512]),
			"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 512\r\n\r\n" + string(big[:512]), &nopRecorder{},
		},
		"download": {
			"GET /file HTTP/1.1\r\nHost: shop.example\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 16384\r\n\r\n" + string(big), &nopFilter{},
		},
	} {
		b.Run(name, func(b *testing.B) {
			_, front := proxy(b, Config{Ports: chainPorts(bench.filter)}, cannedApp(b, len(bench.request), bench.response))
			c, err := net.Dial("tcp", front)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			request, buf := []byte(bench.request), make([]byte, len(bench.response))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(request); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(c, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// cannedApp answers whatever ends a request that is at least least bytes long.
func cannedApp(b *testing.B, least int, response string) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				buf, answer, n := make([]byte, 64<<10), []byte(response), 0
				for {
					k, err := c.Read(buf[n:])
					if err != nil {
						return
					}
					if n += k; n >= least {
						n = 0
						if _, err := c.Write(answer); err != nil {
							return
						}
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}
