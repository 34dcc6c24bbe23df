// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"io"
	"net/http"
	"testing"

	"weir.dev/weir/sidecar/exchange"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// BenchmarkGet is a GET with a short answer, client and application in the same
// process: what Weir costs is the difference to direct. The lines of HTTP/1 say
// what it costs there.
func BenchmarkGet(b *testing.B) {
	addr := app(b, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "an answer") })
	_, front := proxy(b, wirehttp.Config{Ports: onPort(exchange.H2C)}, addr)
	_, translated := proxy(b, wirehttp.Config{Ports: onPort(exchange.HTTP)}, addr)
	http1 := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	b.Cleanup(http1.CloseIdleConnections)
	for _, bench := range []struct {
		name string
		c    *http.Client
		addr string
	}{
		{"http2/direct", client(b), addr},
		{"http2/weir", client(b), front},
		{"http2/weir to http1", client(b), translated},
		{"http1/direct", http1, addr},
		{"http1/weir", http1, translated},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				resp, err := bench.c.Get("http://" + bench.addr + "/")
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
}
