// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"weir.dev/weir/api/snapshot"
)

// What a snapshot says about heads, bodies and times holds for the requests that it
// governs.
func TestBareObeysBounds(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if strings.HasPrefix(r.URL.Path, "/slow") {
			<-r.Context().Done()
		}
	}))
	defer app.Close()
	s := five()
	s.RateLimitPolicies[0].Limits[0].Limit = 1000
	s.Proxy = &snapshot.Proxy{HeadBytes: 4 << 10}
	s.Ports[0].MaxBodyBytes = 10
	s.Ports[0].Timeouts = []*snapshot.RouteTimeout{{Prefix: "/slow", ResponseMilliseconds: 50}, {Prefix: "/"}}
	b, err := protojson.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	f := bareFlags{
		snapshot:  write(t, "s.json", b),
		listeners: []string{"name=payments/http,listen=127.0.0.1:0,upstream=" + strings.TrimPrefix(app.URL, "http://")},
	}
	var out logs
	background(t, func(ctx context.Context) error {
		return f.run(ctx, slog.New(slog.NewJSONHandler(&out, nil)), &slog.LevelVar{})
	})
	address := out.await(t, "listening", "address")
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"within":       {"POST /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 10\r\n\r\n0123456789", 200},
		"long head":    {"GET /a HTTP/1.1\r\nHost: h\r\nX-A: " + strings.Repeat("a", 5<<10) + "\r\n\r\n", 431},
		"long body":    {"POST /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 11\r\n\r\n01234567890", 413},
		"long chunked": {"POST /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n", 413},
		"slow":         {"GET /slow/report HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 504},
	} {
		t.Run(name, func(t *testing.T) {
			if got := exchangeRaw(t, address, c.request); !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", c.status)) {
				t.Errorf("got %q, want %d", got, c.status)
			}
		})
	}
}
