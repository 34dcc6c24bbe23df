// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"weir.dev/weir/sidecar/exchange"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// An application that does not speak HTTP/2, behind a port that does not say what
// it speaks: each request is answered, and does not become a storm of connections.
func TestApplicationWithoutHTTP2(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"answers with HTTP/1":    func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n") },
		"ends connections":       func(net.Conn) {},
		"ends them after a word": func(c net.Conn) { _, _ = c.Write([]byte{0}) },
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var dials atomic.Int32
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					dials.Add(1)
					serve(c)
					_ = c.(*net.TCPConn).SetLinger(0)
					_ = c.Close()
				}
			}()
			f := &testFilter{}
			_, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.Auto, f)}, l.Addr().String())
			c := client(t)
			for range 20 {
				resp, err := c.Get("http://" + front + "/")
				if err != nil {
					t.Fatal(err)
				}
				if body := readAll(t, resp); resp.StatusCode != http.StatusBadGateway {
					t.Fatalf("status %d: %s", resp.StatusCode, body)
				}
			}
			// A machine that is slow may take a second, and then asks again.
			if n := dials.Load(); n > 20*maxDials {
				t.Errorf("%d connections for 20 requests", n)
			}
			for _, o := range f.told() {
				if o != exchange.NotSent {
					t.Errorf("outcome %v, want NotSent", o)
				}
			}
		})
	}
}
