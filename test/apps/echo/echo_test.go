// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestHandler(t *testing.T) {
	for name, tc := range map[string]struct {
		method, target, body string
		wantStatus           int
		want                 answer
	}{
		"any path": {
			method: "GET", target: "/a/b?c=d", wantStatus: 200,
			want: answer{Method: "GET", Path: "/a/b", Query: "c=d"},
		},
		"payment": {
			method: "POST", target: "/users/7/payments", body: "four", wantStatus: 200,
			want: answer{Method: "POST", Path: "/users/7/payments", ID: "7", Bytes: 4},
		},
		"status": {
			method: "GET", target: "/status?code=503", wantStatus: 503,
			want: answer{Method: "GET", Path: "/status", Query: "code=503"},
		},
		"slow": {
			method: "GET", target: "/slow?ms=1", wantStatus: 200,
			want: answer{Method: "GET", Path: "/slow", Query: "ms=1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(tc.method, tc.target, strings.NewReader(tc.body))
			r.Header.Set("X-Client-Id", "me")
			r.Header.Set("Authorization", "Bearer secret")
			w := httptest.NewRecorder()
			handler(t.Context(), "here").ServeHTTP(w, r)
			if w.Code != tc.wantStatus {
				t.Fatalf("status: got %d, want %d: %s", w.Code, tc.wantStatus, w.Body)
			}
			tc.want.Hostname, tc.want.Host, tc.want.Remote, tc.want.Proto = "here", "example.com", "192.0.2.1", "HTTP/1.1"
			tc.want.Headers = map[string]string{"X-Client-Id": "me"}
			var got answer
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHandlerRefuses(t *testing.T) {
	for _, target := range []string{"/slow?ms=x", "/slow?ms=-1", "/bytes?n=99999999999", "/status?code=100", "/status?code=600"} {
		w := httptest.NewRecorder()
		handler(t.Context(), "here").ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s: got %d, want 400", target, w.Code)
		}
	}
}

func TestBytes(t *testing.T) {
	w := httptest.NewRecorder()
	handler(t.Context(), "here").ServeHTTP(w, httptest.NewRequest("GET", "/bytes?n=100000", nil))
	if got := w.Body.Len(); got != 100000 {
		t.Errorf("got %d bytes, want 100000", got)
	}
}

// An open request is answered although the server has been told to end.
func TestGracefulShutdown(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	entered, release := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "done")
	})
	var listeners []net.Listener
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
	}
	ended := make(chan error, 1)
	go func() { ended <- serveOn(ctx, h, time.Minute, listeners) }()
	body := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + listeners[1].Addr().String())
		if err != nil {
			body <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		body <- string(b)
	}()
	<-entered
	stop()
	close(release)
	if got := <-body; got != "done" {
		t.Errorf("open request: got %q, want \"done\"", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("serveOn: %v", err)
	}
}

func TestGet(t *testing.T) {
	server := httptest.NewServer(handler(t.Context(), "here"))
	defer server.Close()
	for name, tc := range map[string]struct {
		args       []string
		wantStatus int
		want       []result
	}{
		"several": {
			args: []string{"-n", "3", "-c", "2", "-X", "POST", "-H", "X-Client-Id: me", "/users/1/payments"},
			want: []result{{Status: 200}, {Status: 200}, {Status: 200}},
		},
		"summary": {
			args: []string{"-summary", "-n", "20", "-c", "4", "/status?code=429"},
			want: []result{{Status: 429, Count: 20}},
		},
		"failure": {
			args: []string{"-fail", "/status?code=429"}, wantStatus: 1,
			want: []result{{Status: 429}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			last := len(tc.args) - 1
			args := append([]string{"get"}, tc.args...)
			args[last+1] = server.URL + args[last+1]
			var out, errs bytes.Buffer
			if status := run(t.Context(), args, strings.NewReader(""), &out, &errs); status != tc.wantStatus {
				t.Fatalf("exit status: got %d, want %d: %s", status, tc.wantStatus, errs.String())
			}
			if diff := cmp.Diff(tc.want, decode(t, &out)); diff != "" {
				t.Errorf("results (-want +got):\n%s", diff)
			}
		})
	}
}

// A connection that fails is a result, not the end of the run, and failures
// from different ports are one kind.
func TestGetCountsFailures(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.(*net.TCPConn).SetLinger(0)
			_, _ = c.Read(make([]byte, 1))
			c.Close()
		}
	}()
	defer l.Close()
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{"get", "-summary", "-n", "5", "http://" + l.Addr().String()}, strings.NewReader(""), &out, &errs); status != 0 {
		t.Fatalf("exit status %d: %s", status, errs.String())
	}
	got := decode(t, &out)
	if len(got) != 1 || got[0].Status != 0 || got[0].Count != 5 || got[0].Error == "" {
		t.Errorf("got %+v, want one line with 5 failures", got)
	}
}

// decode reads result lines and leaves out what differs between runs.
func decode(t *testing.T, r io.Reader) []result {
	t.Helper()
	var all []result
	for d := json.NewDecoder(r); d.More(); {
		var x result
		if err := d.Decode(&x); err != nil {
			t.Fatal(err)
		}
		x.MS, x.Header, x.Body = 0, nil, ""
		all = append(all, x)
	}
	return all
}

func TestSleepEndsOnSignal(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := sleep(ctx, []string{"3600"}); err != nil {
		t.Error(err)
	}
	if err := sleep(ctx, []string{"soon"}); err == nil {
		t.Error("sleep soon: got no error")
	}
}

// The server speaks first, and sends back what it gets.
func TestDial(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go serveTCP(l)
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{"dial", l.Addr().String(), "how are you"}, strings.NewReader(""), &out, &errs); status != 0 {
		t.Fatalf("exit status %d: %s", status, errs.String())
	}
	if got, want := out.String(), "hello\nhow are you\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if status := run(t.Context(), []string{"dial", "127.0.0.1"}, strings.NewReader(""), &out, &errs); status != 1 {
		t.Errorf("dial without a text: exit status %d, want 1", status)
	}
}

// /waiting counts the requests to /slow that have no answer yet.
func TestWaiting(t *testing.T) {
	h := handler(t.Context(), "here")
	ask := func() string {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/waiting", nil))
		return w.Body.String()
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/slow?ms=600000", nil).WithContext(ctx))
	}()
	for ask() != "1\n" {
		time.Sleep(time.Millisecond)
	}
	stop()
	<-ended
	if got := ask(); got != "0\n" {
		t.Errorf("after the end: %q, want 0", got)
	}
}
