// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"go.uber.org/goleak"

	"weir.dev/weir/sidecar/wire/http"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handler sends on what it was called with.
type handler chan http.Target

func (h handler) ServeConn(c net.Conn, target http.Target) {
	_ = c.Close()
	h <- target
}

func serve(t *testing.T, route Route) (handler, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := make(handler, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- Serve(ctx, ln, route, h, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return h, ln.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestFixed(t *testing.T) {
	h, addr := serve(t, Fixed(8080, "127.0.0.1:9000"))
	dial(t, addr)
	if got, want := <-h, (http.Target{Port: 8080, Upstream: "127.0.0.1:9000"}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestNamed(t *testing.T) {
	for pod, want := range map[string]string{"10.1.2.3": "10.1.2.3:8080", "fd00::1": "[fd00::1]:8080", "::ffff:10.1.2.3": "10.1.2.3:8080"} {
		route, err := Named(netip.MustParseAddr(pod), 8080)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := route(nil); got != (http.Target{Port: 8080, Upstream: want}) {
			t.Errorf("got %v, want %s", got, want)
		}
	}
	for _, pod := range []string{"127.0.0.1", "::1", "0.0.0.0", "::"} {
		if _, err := Named(netip.MustParseAddr(pod), 8080); err == nil {
			t.Errorf("%s was taken for the address of a pod", pod)
		}
	}
}

func TestOriginal(t *testing.T) {
	tests := map[string]struct {
		dst    func(c *net.TCPConn) (netip.AddrPort, error)
		target http.Target
		err    error
	}{
		"redirected": {func(*net.TCPConn) (netip.AddrPort, error) { return netip.MustParseAddrPort("10.1.2.3:8080"), nil },
			http.Target{Port: 8080, Upstream: "10.1.2.3:8080"}, nil},
		"redirected, IPv6": {func(*net.TCPConn) (netip.AddrPort, error) { return netip.MustParseAddrPort("[fd00::1]:8080"), nil },
			http.Target{Port: 8080, Upstream: "[fd00::1]:8080"}, nil},
		"to the listener": {func(c *net.TCPConn) (netip.AddrPort, error) { return c.LocalAddr().(*net.TCPAddr).AddrPort(), nil },
			http.Target{}, errLoop},
		"to the listener's port at another address": {func(c *net.TCPConn) (netip.AddrPort, error) {
			return netip.AddrPortFrom(netip.MustParseAddr("10.1.2.3"), c.LocalAddr().(*net.TCPAddr).AddrPort().Port()), nil
		}, http.Target{}, errLoop},
		"no port": {func(*net.TCPConn) (netip.AddrPort, error) { return netip.AddrPort{}, nil }, http.Target{}, errLoop},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			type result struct {
				target http.Target
				err    error
			}
			results := make(chan result, 1)
			h, addr := serve(t, func(c *net.TCPConn) (http.Target, error) {
				target, err := route(test.dst)(c)
				results <- result{target, err}
				return target, err
			})
			c := dial(t, addr)
			got := <-results
			if got.target != test.target || !errors.Is(got.err, test.err) {
				t.Errorf("got %v, %v", got.target, got.err)
			}
			if test.err == nil {
				<-h
			}
			if b, err := io.ReadAll(c); len(b) > 0 || err != nil {
				t.Errorf("got %q, %v", b, err)
			}
		})
	}
}

// TestOriginalDirect: a connection that nobody redirected is never served, with
// the kernel asked in earnest.
func TestOriginalDirect(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Skip(err)
		}
		defer ln.Close()
		dial(t, ln.Addr().String())
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if target, err := Original()(c.(*net.TCPConn)); err == nil {
			t.Errorf("%s: got %v", address, target)
		} else {
			t.Log(err)
		}
		_ = c.Close()
	}
}
