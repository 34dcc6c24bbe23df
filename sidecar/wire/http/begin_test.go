// SPDX-License-Identifier: Apache-2.0

package http

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/sidecar/exchange"
)

// What governed ports do with what is no request: bytes as they come, by time. Times
// are those of the bubble.
func TestBegins(t *testing.T) {
	const ok = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
	for name, test := range map[string]struct {
		protocol exchange.Protocol
		// pieces are sent a second after each other.
		pieces []string
		// status of the answer; 0: the connection is closed without one.
		status string
		// after seconds.
		after   int
		refused []Refusal
	}{
		"TLS":                             {exchange.HTTP, []string{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"}, "", 0, []Refusal{RefusedTLS}},
		"TLS on a gRPC port":              {exchange.GRPC, []string{"\x16\x03\x01"}, "", 0, []Refusal{RefusedTLS}},
		"TLS in pieces":                   {exchange.HTTP, []string{"\x16", "\x03"}, "", 1, []Refusal{RefusedTLS}},
		"half a byte of TLS":              {exchange.HTTP, []string{"\x16"}, "", 2, []Refusal{RefusedTimeout}},
		"Thrift":                          {exchange.HTTP, []string{"\x00\x00\x00\x14\x80\x01\x00\x01"}, "", 0, []Refusal{RefusedThrift}},
		"Thrift in pieces":                {exchange.Auto, []string{"\x00\x00\x00\x14", "\x80\x01\x00\x01"}, "", 1, []Refusal{RefusedThrift}},
		"half of Thrift":                  {exchange.Auto, []string{"\x00\x00\x00\x14"}, "", 2, []Refusal{RefusedTimeout}},
		"binary":                          {exchange.HTTP, []string{"\xff\xfe\xfd"}, "", 0, []Refusal{RefusedUnknown}},
		"binary on auto":                  {exchange.Auto, []string{"GET\x01"}, "", 0, []Refusal{RefusedUnknown}},
		"text":                            {exchange.HTTP, []string{"{\"a\": 1}\r\n"}, "400", 0, nil},
		"text on auto":                    {exchange.Auto, []string{"Host: a\r\n"}, "400", 0, nil},
		"a request on auto":               {exchange.Auto, []string{ok}, "502", 0, nil},
		"a request in pieces":             {exchange.Auto, []string{"GE", "T /a HTTP/1.1\r\nHost: h\r\n", "\r\n"}, "502", 2, nil},
		"its head may take longer":        {exchange.Auto, []string{"GET /a", " HTTP", "/1.1\r\n", "Host: h\r\n", "\r\n"}, "502", 4, nil},
		"a method that does not end":      {exchange.Auto, []string{"GET"}, "408", 2, nil},
		"a slow method where it says so":  {exchange.HTTP, []string{"G", "E", "T", " ", "/a HTTP/1.1\r\nHost: h\r\n\r\n"}, "502", 4, nil},
		"a method without an end on http": {exchange.HTTP, []string{"GET"}, "408", 60, nil},
		"half of HTTP/2's preface":        {exchange.Auto, []string{"PRI * "}, "408", 2, nil},
		"after an empty line":             {exchange.Auto, []string{"\r\n" + ok}, "502", 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var refused []Refusal
				ports := chainPorts()
				ports.port.Protocol = test.protocol
				s := New(Config{
					Ports: ports, Logger: slog.New(slog.DiscardHandler),
					Metrics: Metrics{Refused: func(_ uint16, why Refusal) { refused = append(refused, why) }},
					Dial:    func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED },
					HTTP2:   func(*Server) HTTP2 { return &fakeHTTP2{drained: make(chan struct{}, 9), closed: make(chan struct{})} },
				})
				near, far := net.Pipe()
				var wg sync.WaitGroup
				wg.Go(func() { s.ServeConn(far, Target{Port: testPort, Upstream: "127.0.0.1:1"}) })
				wg.Go(func() {
					for i, p := range test.pieces {
						if i > 0 {
							time.Sleep(time.Second)
						}
						_, _ = io.WriteString(near, p)
					}
				})
				start := time.Now()
				b := make([]byte, 4096)
				n, _ := near.Read(b)
				b = b[:n]
				_ = near.Close()
				status := ""
				if f := strings.Fields(string(b)); len(f) > 1 {
					status = f[1]
				}
				if got := int(time.Since(start) / time.Second); status != test.status || got != test.after {
					t.Errorf("got %q after %d s, want %q after %d s", b, got, test.status, test.after)
				}
				wg.Wait()
				if d := cmp.Diff(test.refused, refused); d != "" {
					t.Errorf("refused (-want +got):\n%s", d)
				}
				_ = s.Shutdown(t.Context())
			})
		})
	}
}

// A connection above the bound is counted, and one without a byte waits.
func TestFull(t *testing.T) {
	refused := make(chan Refusal, 1)
	s, front := proxy(t, Config{Ports: chainPorts(), MaxConns: 1, Metrics: Metrics{Refused: func(_ uint16, why Refusal) { refused <- why }}}, "127.0.0.1:1")
	dialRaw(t, front)
	for s.Conns() == 0 {
		time.Sleep(time.Millisecond)
	}
	_, br := dialRaw(t, front)
	if _, err := br.ReadByte(); err == nil {
		t.Error("a connection above MaxConns was served")
	}
	if got := <-refused; got != RefusedFull {
		t.Errorf("refused as %s", got)
	}
}
