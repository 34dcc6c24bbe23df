// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"

	"weir.dev/weir/sidecar/exchange"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// A request that the application may have processed is sent once, whatever ends
// it; one that it says it has not is sent again, where its body is still there.
func TestReplay(t *testing.T) {
	const (
		closes        = "closes the connection"
		resets        = "resets the connection's stream"
		refuses       = "refuses the first"
		refusesAll    = "refuses all"
		goesAway      = "says GOAWAY for the first"
		protocolError = "PROTOCOL_ERROR"
		cancels       = "CANCEL"
	)
	for name, test := range map[string]struct {
		app     string
		method  string
		body    string
		stream  bool // the body has no end
		seen    int64
		status  int
		outcome exchange.Outcome
	}{
		"GET, closed":               {closes, "GET", "", false, 1, 502, exchange.SentNoReply},
		"POST, closed":              {closes, "POST", "x", false, 1, 502, exchange.SentNoReply},
		"GET, PROTOCOL_ERROR":       {protocolError, "GET", "", false, 1, 502, exchange.SentNoReply},
		"GET, CANCEL":               {cancels, "GET", "", false, 1, 502, exchange.SentNoReply},
		"GET, reset":                {resets, "GET", "", false, 1, 502, exchange.SentNoReply},
		"POST, reset":               {resets, "POST", "x", false, 1, 502, exchange.SentNoReply},
		"GET, refused":              {refuses, "GET", "", false, 2, 200, exchange.Replied},
		"POST, refused":             {refuses, "POST", "x", false, 2, 200, exchange.Replied},
		"stream, refused":           {refuses, "POST", "x", true, 1, 502, exchange.NotSent},
		"GET, refused always":       {refusesAll, "GET", "", false, 3, 502, exchange.NotSent},
		"POST, refused always":      {refusesAll, "POST", "x", false, 3, 502, exchange.NotSent},
		"GET, GOAWAY":               {goesAway, "GET", "", false, 2, 200, exchange.Replied},
		"POST, GOAWAY":              {goesAway, "POST", "x", false, 2, 200, exchange.Replied},
		"large POST, refused":       {refuses, "POST", strings.Repeat("x", maxReplay+1), false, 1, 502, exchange.NotSent},
		"largest kept POST, GOAWAY": {goesAway, "POST", strings.Repeat("x", maxReplay), false, 2, 200, exchange.Replied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen atomic.Int64
			addr := rawApp(t, func(_ int, r *rawConn) {
				got := 0
				for {
					f, err := r.ReadFrame()
					if err != nil {
						return
					}
					ended := false
					switch f := f.(type) {
					case *http2.SettingsFrame:
						if !f.IsAck() {
							_ = r.WriteSettingsAck()
						}
						continue
					case *http2.MetaHeadersFrame:
						seen.Add(1)
						got, ended = 0, f.StreamEnded()
					case *http2.DataFrame:
						got += len(f.Data())
						ended = f.StreamEnded()
					default:
						continue
					}
					if !ended && (!test.stream || got == 0) {
						continue
					}
					id := f.Header().StreamID
					switch first := seen.Load() == 1; {
					case test.app == closes:
						return
					case test.app == resets:
						_ = r.WriteRSTStream(id, http2.ErrCodeInternal)
					case test.app == protocolError:
						_ = r.WriteRSTStream(id, http2.ErrCodeProtocol)
					case test.app == cancels:
						_ = r.WriteRSTStream(id, http2.ErrCodeCancel)
					case test.app == refusesAll || test.app == refuses && first:
						_ = r.WriteRSTStream(id, http2.ErrCodeRefusedStream)
					case test.app == goesAway && first:
						_ = r.WriteGoAway(0, http2.ErrCodeNo, nil)
						return
					default:
						if got != len(test.body) {
							t.Errorf("a body of %d bytes", got)
						}
						r.headers(id, true, ":status", "200")
					}
				}
			})
			f := &testFilter{ended: make(chan struct{}, 1)}
			_, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.H2C, f)}, addr)
			var body io.Reader
			if test.body != "" {
				body = strings.NewReader(test.body)
			}
			if test.stream {
				pr, pw := io.Pipe()
				go func() { _, _ = io.WriteString(pw, test.body) }()
				defer pw.Close()
				body = pr
			}
			req, _ := http.NewRequest(test.method, "http://"+front+"/", body)
			resp, err := client(t).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			readAll(t, resp)
			<-f.ended
			if resp.StatusCode != test.status || seen.Load() != test.seen {
				t.Errorf("got %d after %d requests, want %d after %d", resp.StatusCode, seen.Load(), test.status, test.seen)
			}
			if diff := cmp.Diff([]exchange.Outcome{test.outcome}, f.told()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// net/http's own Transport sends a request again after PROTOCOL_ERROR. It is why
// Weir does not use it; when this fails, say so in doc.go.
func TestTransportRepeats(t *testing.T) {
	var seen atomic.Int64
	addr := rawApp(t, func(_ int, r *rawConn) {
		for {
			f, err := r.ReadFrame()
			if err != nil {
				return
			}
			if f, ok := f.(*http2.MetaHeadersFrame); ok {
				if seen.Add(1) == 1 {
					_ = r.WriteRSTStream(f.StreamID, http2.ErrCodeProtocol)
				} else {
					r.headers(f.StreamID, true, ":status", "200")
				}
			}
		}
	})
	resp, err := client(t).Get("http://" + addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	readAll(t, resp)
	if n := seen.Load(); n != 2 {
		t.Errorf("the application got %d requests", n)
	}
}
