// SPDX-License-Identifier: Apache-2.0

package http

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"weir.dev/weir/sidecar/exchange"
)

// TestDeniedChunks: a connection that ends after an answer says so in it, since a
// client would send its next request into the end.
func TestDeniedChunks(t *testing.T) {
	f := &testFilter{head: func(x *exchange.Exchange) exchange.Verdict {
		x.Deny(exchange.Denial{Status: http.StatusTooManyRequests, Type: "urn:x", Title: "No"})
		return exchange.Respond
	}}
	_, front := proxy(t, Config{Ports: chainPorts(f)}, "127.0.0.1:1")
	for name, tc := range map[string]struct {
		body string
		kept bool
	}{
		"small":        {"3\r\nabc\r\n0\r\n\r\n", true},
		"has not come": {"3\r\nabc\r\n", false},
		"long":         {strings.Repeat("1000\r\n"+strings.Repeat("x", 4096)+"\r\n", 256) + "0\r\n\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			c, br := dialRaw(t, front)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				_, _ = io.WriteString(c, "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"+tc.body)
			}()
			resp, _ := readResponse(t, br, "POST")
			if kept := !resp.Close; kept != tc.kept {
				t.Errorf("the connection is kept: %v, want %v", kept, tc.kept)
			}
			_ = c.CloseWrite()
			_, _ = io.Copy(io.Discard, br)
			<-sent
		})
	}
}
