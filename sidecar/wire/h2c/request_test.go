// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/sidecar/exchange"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// What strangers may not say is taken away, before filters look.
func TestIdentity(t *testing.T) { both(t, testIdentity) }

func testIdentity(t *testing.T, protocol exchange.Protocol) {
	for name, test := range map[string]struct {
		trusted bool
		client  string
		want    http.Header
	}{
		"stranger": {false, "127.0.0.1", http.Header{"X-Other": {"o"}, "X-Forwarded-For": {"9.9.9.9, 127.0.0.1"}, "X-Forwarded-Proto": {"https"}}},
		"proxy":    {true, "9.9.9.9", http.Header{"X-User": {"u"}, "X-Other": {"o"}, "X-Forwarded-For": {"9.9.9.9, 127.0.0.1"}, "X-Forwarded-Proto": {"https"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan http.Header, 1)
			addr := app(t, func(w http.ResponseWriter, r *http.Request) { got <- maps.Clone(r.Header) })
			seen := make(chan string, 1)
			f := &testFilter{head: func(x *exchange.Exchange) exchange.Verdict {
				user, n := x.Request.Header("x-user")
				if (n > 0) != test.trusted || test.trusted && string(user) != "u" {
					t.Errorf("x-user: %q, %d", user, n)
				}
				seen <- x.Client.String() + " " + x.Protocol + " " + string(x.Method) + " " + string(x.Path) + " " + string(x.Query)
				return exchange.Continue
			}}
			p := onPort(protocol, f)
			p.port.Identity = &exchange.Identity{Headers: []string{"x-user"}}
			if test.trusted {
				p.port.Identity.TrustedProxies = loopback
			}
			_, front := proxy(t, wirehttp.Config{Ports: p}, addr)
			req, _ := http.NewRequest("GET", "http://"+front+"/a/../b?q", nil)
			req.Header = http.Header{"X-User": {"u"}, "X_user": {"u"}, "X-Other": {"o"}, "X-Forwarded-For": {"9.9.9.9"}, "X-Forwarded-Proto": {"https"}, "User-Agent": nil}
			if test.trusted {
				req.Header.Del("X_user")
			}
			resp, err := client(t).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			readAll(t, resp)
			if got, want := <-seen, test.client+" HTTP/2 GET /b q"; got != want {
				t.Errorf("filters saw %s, want %s", got, want)
			}
			h := <-got
			if diff := cmp.Diff(test.want, h); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A filter that asks for the body gets it, and the application gets it too.
func TestNeedBody(t *testing.T) { both(t, testNeedBody) }

func testNeedBody(t *testing.T, protocol exchange.Protocol) {
	for name, test := range map[string]struct {
		size, limit int
		known       bool
		want        int
	}{
		"known": {100, 100, true, 200}, "unknown": {100, 100, false, 200}, "large": {90_000, 100_000, false, 200}, "empty": {0, 10, true, 200},
		"known and too long": {101, 100, true, 413}, "too long": {101, 100, false, 413}, "beyond memory": {200_000, 1 << 20, false, 503},
	} {
		t.Run(name, func(t *testing.T) {
			body := strings.Repeat("x", test.size)
			addr := app(t, func(w http.ResponseWriter, r *http.Request) {
				if b, _ := io.ReadAll(r.Body); string(b) != body {
					t.Errorf("the application got %d bytes", len(b))
				}
			})
			f := &testFilter{maxBody: test.limit, ended: make(chan struct{}, 9)}
			f.head = func(x *exchange.Exchange) exchange.Verdict { return exchange.NeedBody }
			f.body = func(x *exchange.Exchange) exchange.Verdict {
				if string(x.Body) != body {
					t.Errorf("the filter got %d bytes", len(x.Body))
				}
				return exchange.Continue
			}
			s, front := proxy(t, wirehttp.Config{Ports: onPort(protocol, f), BufferedBytes: 150_000}, addr)
			var from io.Reader = strings.NewReader(body)
			if !test.known {
				from = io.MultiReader(from)
			}
			req, _ := http.NewRequest("POST", "http://"+front+"/", from)
			resp, err := client(t).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if b := readAll(t, resp); resp.StatusCode != test.want {
				t.Errorf("got %d %s", resp.StatusCode, b)
			}
			<-f.ended
			_ = s
		})
	}
}

func TestMaxBody(t *testing.T) { both(t, testMaxBody) }

func testMaxBody(t *testing.T, protocol exchange.Protocol) {
	for name, known := range map[string]bool{"known": true, "unknown": false} {
		t.Run(name, func(t *testing.T) {
			addr := app(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
			f := &testFilter{ended: make(chan struct{}, 9)}
			p := onPort(protocol, f)
			p.port.MaxBody = 1000
			_, front := proxy(t, wirehttp.Config{Ports: p}, addr)
			c := client(t)
			for _, size := range []int{1000, 1001} {
				var from io.Reader = strings.NewReader(strings.Repeat("x", size))
				if !known {
					from = io.MultiReader(from)
				}
				req, _ := http.NewRequest("POST", "http://"+front+"/", from)
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				if b := readAll(t, resp); (resp.StatusCode == 200) != (size == 1000) || size > 1000 && (resp.StatusCode != 413 || !strings.Contains(b, "body-too-large")) {
					t.Errorf("%d: got %d %s", size, resp.StatusCode, b)
				}
			}
		})
	}
}

func TestResponseTimeout(t *testing.T) { both(t, testResponseTimeout) }

func testResponseTimeout(t *testing.T, protocol exchange.Protocol) {
	release := make(chan struct{})
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/slow" {
			select {
			case <-r.Context().Done():
			case <-release:
			}
		}
	})
	defer close(release)
	f := &testFilter{ended: make(chan struct{}, 9)}
	p := onPort(protocol, f)
	p.port.Timeouts = []exchange.RouteTimeout{{Prefix: "/slow", Response: 30 * time.Millisecond}, {Prefix: "/", Response: 0}}
	_, front := proxy(t, wirehttp.Config{Ports: p}, addr)
	c := client(t)
	for path, want := range map[string]int{"/slow": 504, "/": 200} {
		// The body takes longer than the bound, which begins at its end.
		pr, pw := io.Pipe()
		time.AfterFunc(60*time.Millisecond, func() { _ = pw.Close() })
		req, _ := http.NewRequest("POST", "http://"+front+path, pr)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if b := readAll(t, resp); resp.StatusCode != want || want == 504 && !strings.Contains(b, "within 30ms") {
			t.Errorf("%s: got %d %s", path, resp.StatusCode, b)
		}
		<-f.ended
	}
	told := f.told()
	slices.Sort(told)
	if diff := cmp.Diff([]exchange.Outcome{exchange.SentNoReply, exchange.Replied}, told); diff != "" {
		t.Error(diff)
	}
}
