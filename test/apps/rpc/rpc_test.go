// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// start serves on two free ports and returns their addresses.
func start(t *testing.T) (rpc, web string) {
	t.Helper()
	var l [2]net.Listener
	for i := range l {
		var err error
		if l[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serveOn(ctx, l[0], l[1]) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l[0].Addr().String(), l[1].Addr().String()
}

func output(t *testing.T, args ...string) string {
	t.Helper()
	return outputOf(t, strings.NewReader(""), args...)
}

func outputOf(t *testing.T, stdin io.Reader, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if status := run(t.Context(), args, stdin, &out, &errs); status != 0 {
		t.Fatalf("%v: exit status %d: %s", args, status, errs.String())
	}
	return out.String()
}

func TestInterop(t *testing.T) {
	rpc, _ := start(t)
	if got := strings.Count(output(t, "interop", rpc), " ok\n"); got != 14 {
		t.Errorf("%d cases passed, want 14", got)
	}
}

func TestCall(t *testing.T) {
	rpc, _ := start(t)
	var r callResult
	if err := json.Unmarshal([]byte(output(t, "call", "-H", "x-client-id: me", rpc)), &r); err != nil || r.Code != "OK" {
		t.Errorf("got %+v, %v", r, err)
	}
}

// The server is no rate limit service, which is an answer too.
func TestLimit(t *testing.T) {
	rpc, _ := start(t)
	got := output(t, "limit", "-n", "2", "-d", "header:x-client-id=me", "shop/payments/http", rpc)
	if n := strings.Count(got, `"code":"Unimplemented","limit":"UNKNOWN"`); n != 2 {
		t.Errorf("%d answers, want 2: %s", n, got)
	}
}

func TestStream(t *testing.T) {
	rpc, _ := start(t)
	var r streamResult
	if err := json.Unmarshal([]byte(output(t, "stream", "-n", "3", rpc)), &r); err != nil || r.Code != "OK" || r.Answered != 3 {
		t.Errorf("got %+v, %v", r, err)
	}
}

// What goes on until standard input ends is ended as properly.
func TestUntilEOF(t *testing.T) {
	rpc, web := start(t)
	for name, args := range map[string][]string{
		"stream": {"stream", "-until-eof", "-every", "1ms", rpc},
		"ws":     {"ws", "-until-eof", "-every", "1ms", "ws://" + web + "/ws"},
	} {
		t.Run(name, func(t *testing.T) {
			stdin, end := io.Pipe()
			time.AfterFunc(20*time.Millisecond, func() { _ = end.Close() })
			var r struct {
				Code, Error            string
				Sent, Answered, Echoed int
			}
			out := outputOf(t, stdin, args...)
			if err := json.Unmarshal([]byte(out), &r); err != nil || r.Answered+r.Echoed != r.Sent || r.Error != "" || r.Code != "" && r.Code != "OK" {
				t.Errorf("got %s, %v, want an answer to each message", out, err)
			}
		})
	}
}

func TestWebSocket(t *testing.T) {
	_, web := start(t)
	var r wsResult
	if err := json.Unmarshal([]byte(output(t, "ws", "-n", "5", "ws://"+web+"/ws")), &r); err != nil || r.Status != 101 || r.Echoed != 5 {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestEvents(t *testing.T) {
	_, web := start(t)
	got := output(t, "events", "http://"+web+"/events?n=3&ms=1")
	if n := strings.Count(got, `"data":"event `); n != 3 {
		t.Errorf("%d events, want 3: %s", n, got)
	}
}
