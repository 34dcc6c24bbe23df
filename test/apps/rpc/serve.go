// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop"
	"google.golang.org/grpc/interop/grpc_testing"
)

func serve(ctx context.Context, args []string, stderr io.Writer) error {
	fs := flag.NewFlagSet("rpc", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, usage) }
	rpc := fs.String("grpc", ":9090", "address for gRPC")
	web := fs.String("http", ":8080", "address for HTTP: /ws, /events, /healthz")
	if err := fs.Parse(args); err != nil {
		return err
	}
	g, err := net.Listen("tcp", *rpc)
	if err != nil {
		return err
	}
	h, err := net.Listen("tcp", *web)
	if err != nil {
		return errors.Join(err, g.Close())
	}
	return serveOn(ctx, g, h)
}

// serveOn serves both until ctx ends, then lets what is under way end.
func serveOn(ctx context.Context, g, h net.Listener) error {
	calls := grpc.NewServer()
	grpc_testing.RegisterTestServiceServer(calls, interop.NewTestServer())
	grpc_health_v1.RegisterHealthServer(calls, health.NewServer())
	web := &http.Server{Handler: handler(), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 2)
	go func() {
		err := calls.Serve(g)
		if errors.Is(err, grpc.ErrServerStopped) {
			// It was told to end before it had begun.
			err = nil
		}
		ended <- err
	}()
	go func() {
		err := web.Serve(h)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		ended <- err
	}()
	var err error
	left := 2
	select {
	case <-ctx.Done():
	case err = <-ended:
		left--
	}
	grace, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer stop()
	end := context.AfterFunc(grace, calls.Stop)
	defer end()
	calls.GracefulStop()
	err = errors.Join(err, web.Shutdown(grace))
	for range left {
		err = errors.Join(err, <-ended)
	}
	return err
}

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /ws", echoWebSocket)
	mux.HandleFunc("GET /events", sendEvents)
	return mux
}

func echoWebSocket(w http.ResponseWriter, r *http.Request) {
	u := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	c, err := u.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	for {
		kind, message, err := c.ReadMessage()
		if err != nil {
			return
		}
		if err := c.WriteMessage(kind, message); err != nil {
			return
		}
	}
}

// sendEvents sends n events, one every so many milliseconds.
func sendEvents(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	every, err2 := strconv.Atoi(r.URL.Query().Get("ms"))
	if err != nil || err2 != nil || n < 1 || n > 1000 || every < 0 || every > 10000 {
		http.Error(w, "want /events?n=1…1000&ms=0…10000", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	for i := range n {
		if _, err := fmt.Fprintf(w, "id: %d\ndata: event %d\n\n", i, i); err != nil {
			return
		}
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-time.After(time.Duration(every) * time.Millisecond):
		case <-r.Context().Done():
			return
		}
	}
}
