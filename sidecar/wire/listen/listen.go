// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"weir.dev/weir/sidecar/wire/http"
)

// Handler serves a connection until it ends, and closes it.
type Handler interface {
	ServeConn(c net.Conn, target http.Target)
}

// Route says where a connection was going. An error closes it.
type Route func(c *net.TCPConn) (http.Target, error)

// Serve accepts from ln until ctx ends or ln is closed, and hands each connection
// to h in a goroutine of its own. It returns nil then; connections that are being
// served go on.
func Serve(ctx context.Context, ln net.Listener, route Route, h Handler, log *slog.Logger) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	var pause time.Duration
	for {
		c, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			// Out of file descriptors or memory: it may pass.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			log.Warn("no connection can be accepted", "listener", ln.Addr().String(), "error", err, "retryAfter", pause)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
			continue
		}
		pause = 0
		tc, ok := c.(*net.TCPConn)
		if !ok {
			_ = c.Close()
			return errors.New("the listener is not TCP")
		}
		go func() {
			target, err := route(tc)
			if err != nil {
				log.Debug("a connection was closed", "listener", ln.Addr().String(), "peer", tc.RemoteAddr().String(), "error", err)
				_ = tc.Close()
				return
			}
			h.ServeConn(tc, target)
		}()
	}
}
