// SPDX-License-Identifier: Apache-2.0

package load

import (
	"strings"
	"testing"
	"time"
)

func TestResponse(t *testing.T) {
	ok := "HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length:  4\r\n\r\nabcd"
	for name, test := range map[string]struct {
		in        string
		want      []int // the status of each response
		wantError string
	}{
		"one":                   {in: ok, want: []int{200}},
		"no body":               {in: "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", want: []int{429}},
		"two":                   {in: ok + ok, want: []int{200, 200}},
		"no length":             {in: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", wantError: "without Content-Length"},
		"no HTTP":               {in: "SSH-2.0-OpenSSH_9\r\n\r\n", wantError: "no status line"},
		"a head without an end": {in: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", maxHead), wantError: "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			var r response
			var got []int
			for i := range len(test.in) { // byte by byte: every way to be cut
				done, err := r.feed([]byte{test.in[i]})
				if err != nil {
					if test.wantError == "" || !strings.Contains(err.Error(), test.wantError) {
						t.Fatalf("error is %v, want %q", err, test.wantError)
					}
					return
				}
				if done {
					got = append(got, r.status)
				}
			}
			if test.wantError != "" {
				t.Fatalf("no error, want %q", test.wantError)
			}
			if len(got) != len(test.want) {
				t.Fatalf("%d responses, want %d", len(got), len(test.want))
			}
			for i, status := range test.want {
				if got[i] != status {
					t.Errorf("response %d has status %d, want %d", i, got[i], status)
				}
			}
		})
	}
	t.Run("more than asked for", func(t *testing.T) {
		var r response
		if _, err := r.feed([]byte(ok + "x")); err == nil {
			t.Error("no error")
		}
	})
}

func TestRequestBytes(t *testing.T) {
	for name, test := range map[string]struct {
		edit func(*Request)
		want string
	}{
		"a body of a length": {func(r *Request) { r.Body = 3 }, "Content-Length: 3\r\n\r\nxxx"},
		"a text":             {func(r *Request) { r.Text = "{}" }, "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"},
		"a key":              {func(r *Request) { r.Key = Key{Name: "K", Prefix: "p-"} }, "K: p-0000000000\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := Request{Method: "POST", URL: "http://127.0.0.1:80/a?b", Header: "X-Client-Id: c"}
			test.edit(&r)
			address, got, keyAt, err := r.bytesOf()
			want := "POST /a?b HTTP/1.1\r\nHost: 127.0.0.1:80\r\nX-Client-Id: c\r\n" + test.want
			if err != nil || address != "127.0.0.1:80" || string(got) != want {
				t.Errorf("got %q, %q, %v", address, got, err)
			}
			if (keyAt > 0) != (r.Key.Name != "") {
				t.Errorf("the key is at %d", keyAt)
			}
			if keyAt > 0 {
				if putNumber(got[keyAt:], 12345); !strings.Contains(string(got), "p-0000012345\r\n") {
					t.Errorf("with a number: %q", got)
				}
			}
		})
	}
}

func TestPercentile(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	for name, test := range map[string]struct {
		sorted []time.Duration
		p      int
		want   time.Duration
	}{
		"none": {nil, 50, 0}, "one": {[]time.Duration{7}, 99, 7},
		"the middle": {hundred, 50, 50}, "the end": {hundred, 99, 99}, "of three": {hundred[:3], 50, 2},
	} {
		t.Run(name, func(t *testing.T) {
			if got := percentile(test.sorted, test.p); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}
