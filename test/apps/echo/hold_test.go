// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestHold(t *testing.T) {
	for name, tc := range map[string]struct {
		act  func(h *hold, stop, leave context.CancelFunc)
		want bool
		took time.Duration
	}{
		"released":        {act: func(h *hold, _, _ context.CancelFunc) { h.release() }, want: true},
		"the app ends":    {act: func(_ *hold, stop, _ context.CancelFunc) { stop() }, want: true, took: afterEnding},
		"the client goes": {act: func(_ *hold, _, leave context.CancelFunc) { leave() }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ending, stop := context.WithCancel(t.Context())
				defer stop()
				client, leave := context.WithCancel(t.Context())
				defer leave()
				h := newHold(ending)
				got := make(chan bool)
				start := time.Now()
				go func() { got <- h.wait(client) }()
				synctest.Wait()
				tc.act(h, stop, leave)
				if answered := <-got; answered != tc.want || time.Since(start) != tc.took {
					t.Errorf("answered %v after %v, want %v after %v", answered, time.Since(start), tc.want, tc.took)
				}
			})
		})
	}
}

func TestReach(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for address, want := range map[string]int{
		l.Addr().String(): 0,
		"127.0.0.1:1":     1, // nobody has tcpmux
	} {
		var errs bytes.Buffer
		if status := run(t.Context(), []string{"reach", address}, strings.NewReader(""), io.Discard, &errs); status != want {
			t.Errorf("%s: exit status %d, want %d: %s", address, status, want, errs.String())
		}
	}
}

// The load goes on until standard input ends.
func TestGetUntilEOF(t *testing.T) {
	stdin, end := io.Pipe()
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if served.Add(1) == 3 {
			_ = end.Close()
		}
	}))
	defer server.Close()
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{"get", "-summary", "-until-eof", server.URL}, stdin, &out, &errs); status != 0 {
		t.Fatalf("exit status %d: %s", status, errs.String())
	}
	if got := decode(t, &out); len(got) != 1 || got[0].Status != 200 || int64(got[0].Count) != served.Load() || got[0].Count < 3 {
		t.Errorf("got %+v, want status 200 for all of at least 3", got)
	}
}
