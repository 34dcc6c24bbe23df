// SPDX-License-Identifier: Apache-2.0

package tap_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"weir.dev/weir/sidecar/store/redis/redistest"
	"weir.dev/weir/test/faults/tap"
)

func first(words [][]byte) string { return strings.ToLower(string(words[0])) }

// Commands and replies pass unchanged, and each has its two points.
func TestRedis(t *testing.T) {
	server := redistest.Start(t)
	points := make(chan string, 16)
	p := tap.Redis(t, server.Addr, first, func(point string) bool {
		points <- point
		return true
	})
	c, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	fmt.Fprint(c, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
	want := "+OK\r\n$2\r\n\r\n\r\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("%q, error %v, want %q", got, err, want)
	}
	seen := map[string]bool{}
	for range 4 {
		seen[<-points] = true
	}
	for _, want := range []string{"redis/set", "redis/set-done", "redis/get", "redis/get-done"} {
		if !seen[want] {
			t.Errorf("no point %s in %v", want, seen)
		}
	}
}

// A command that the hook refuses does not come to the server; one whose reply it
// refuses has come.
func TestRedisCut(t *testing.T) {
	server := redistest.Start(t)
	for refused, stored := range map[string]string{"redis/set": "$-1", "redis/set-done": "$1"} {
		t.Run(refused, func(t *testing.T) {
			server.Do("FLUSHALL", "+OK")
			p := tap.Redis(t, server.Addr, first, func(point string) bool { return point != refused })
			c, err := net.Dial("tcp", p.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			fmt.Fprint(c, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n")
			if b, err := io.ReadAll(c); len(b) > 0 || err == nil {
				t.Errorf("%q, error %v, want a reset", b, err)
			}
			server.Do("GET k", stored)
		})
	}
}

// What is left of a response comes after the end of the request.
func TestStreams(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b, _ := io.ReadAll(c)
			_, _ = c.Write(b)
			_ = c.Close()
		}
	}()
	var refuse atomic.Bool
	p := tap.Streams(t, ln.Addr().String(), "app", func(point string) bool { return point != "app/response" || !refuse.Load() })
	for _, refused := range []bool{false, true} {
		refuse.Store(refused)
		c, err := net.Dial("tcp", p.Addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(c, "hello")
		_ = c.(*net.TCPConn).CloseWrite()
		b, err := io.ReadAll(c)
		if refused != (err != nil) || !refused && string(b) != "hello" {
			t.Errorf("refused %v: %q, error %v", refused, b, err)
		}
		_ = c.Close()
	}
}
