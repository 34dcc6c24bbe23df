// SPDX-License-Identifier: Apache-2.0

package splice_test

import (
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir.dev/weir/sidecar/wire/splice"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func pair(t *testing.T) (a, b *net.TCPConn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); _ = d.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn), d.(*net.TCPConn)
}

func TestJoin(t *testing.T) {
	client, front := pair(t)
	back, server := pair(t)
	done := make(chan struct{})
	go func() { defer close(done); splice.Join(front, back) }()
	_, _ = io.WriteString(client, "ask")
	_ = client.CloseWrite()
	if b, err := io.ReadAll(server); string(b) != "ask" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	// The other direction lives on after the half-close.
	_, _ = io.WriteString(server, "answer")
	_ = server.CloseWrite()
	if b, err := io.ReadAll(client); string(b) != "answer" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	<-done
}

func TestJoinReset(t *testing.T) {
	client, front := pair(t)
	back, server := pair(t)
	done := make(chan struct{})
	go func() { defer close(done); splice.Join(front, back) }()
	_ = server.SetLinger(0)
	_ = server.Close()
	if _, err := io.ReadAll(client); err != nil {
		t.Logf("the client sees %v", err)
	}
	<-done
}
