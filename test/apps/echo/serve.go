// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// limit of what /bytes makes, so that a typing error does not fill a network.
const maxBytes = 1 << 30

func serve(ctx context.Context, args []string, stderr io.Writer) error {
	fs := flag.NewFlagSet("echo", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, usage)
		fs.PrintDefaults()
	}
	listen := fs.String("listen", ":8080", "addresses to listen on, separated by commas")
	tcp := fs.String("tcp", "", "address on which to greet and echo bytes, without HTTP")
	grace := fs.Duration("grace", 10*time.Second, "how long to wait for open requests at the end")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		fs.Usage()
		return fmt.Errorf("unknown command %q", fs.Arg(0))
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	var listeners []net.Listener
	for _, address := range strings.Split(*listen, ",") {
		l, err := net.Listen("tcp", strings.TrimSpace(address))
		if err != nil {
			for _, open := range listeners {
				open.Close()
			}
			return err
		}
		fmt.Fprintln(stderr, "listening on", l.Addr())
		listeners = append(listeners, l)
	}
	if *tcp != "" {
		l, err := net.Listen("tcp", *tcp)
		if err != nil {
			return err
		}
		defer l.Close()
		fmt.Fprintln(stderr, "listening on", l.Addr())
		go serveTCP(l)
	}
	return serveOn(ctx, handler(ctx, host), *grace, listeners)
}

// serveOn serves until ctx ends, then lets open requests finish for grace.
func serveOn(ctx context.Context, h http.Handler, grace time.Duration, listeners []net.Listener) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	failed := make([]error, len(listeners))
	var wg sync.WaitGroup
	for i, l := range listeners {
		wg.Go(func() {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed[i] = err
				stop()
			}
		})
	}
	<-ctx.Done()
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := server.Shutdown(ending)
	if err != nil {
		err = fmt.Errorf("requests still open after %v: %w", grace, err)
		server.Close()
	}
	wg.Wait()
	return errors.Join(append(failed, err)...)
}

// answer is what the app says about a request.
type answer struct {
	Hostname string            `json:"hostname"`
	Method   string            `json:"method"`
	Path     string            `json:"path"`
	Query    string            `json:"query,omitempty"`
	Host     string            `json:"host"`
	Remote   string            `json:"remote"` // address of the peer, without port
	Proto    string            `json:"proto"`
	Local    string            `json:"local"` // address the connection came in on
	Bytes    int64             `json:"bytes"` // length of the request's body
	ID       string            `json:"id,omitempty"`
	Headers  map[string]string `json:"headers"`
}

// handler is the app; ending ends when the app is told to go.
func handler(ending context.Context, hostname string) http.Handler {
	mux := http.NewServeMux()
	echo := func(w http.ResponseWriter, r *http.Request, status int) {
		a, err := describe(hostname, r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(a) // the client has gone: nobody is left to tell
	}
	ok := func(w http.ResponseWriter, r *http.Request) { echo(w, r, http.StatusOK) }
	mux.HandleFunc("/", ok)
	mux.HandleFunc("POST /users/{id}/payments", ok)
	var waiting, probed atomic.Int64
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		probed.Add(1)
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("/healthz/count", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, probed.Load()) })
	mux.HandleFunc("/waiting", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, waiting.Load()) })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		waiting.Add(1)
		defer waiting.Add(-1)
		ms, err := number(r, "ms", 1000, 600_000)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		select {
		case <-time.After(time.Duration(ms) * time.Millisecond):
			ok(w, r)
		case <-r.Context().Done():
		}
	})
	gate := newHold(ending)
	mux.HandleFunc("/hold", func(w http.ResponseWriter, r *http.Request) {
		waiting.Add(1)
		defer waiting.Add(-1)
		if gate.wait(r.Context()) {
			ok(w, r)
		}
	})
	mux.HandleFunc("/release", func(w http.ResponseWriter, r *http.Request) {
		gate.release()
		ok(w, r)
	})
	mux.HandleFunc("/bytes", func(w http.ResponseWriter, r *http.Request) {
		n, err := number(r, "n", 1024, maxBytes)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = io.CopyN(w, letters{}, n)
	})
	mux.HandleFunc("/status", func(w http.ResponseWriter, r *http.Request) {
		code, err := number(r, "code", http.StatusOK, 599)
		if err == nil && code < 200 {
			err = fmt.Errorf("code: want 200 to 599, got %d", code)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		echo(w, r, int(code))
	})
	return mux
}

func number(r *http.Request, name string, absent, most int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%s: want a number from 0 to %d, got %q", name, most, text)
	}
	return n, nil
}

// letters reads as "aaa…" without end.
type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

func describe(hostname string, r *http.Request) (answer, error) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return answer{}, fmt.Errorf("body after %d bytes: %w", n, err)
	}
	remote, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		remote = r.RemoteAddr
	}
	local := ""
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		local = a.String()
	}
	a := answer{
		Hostname: hostname, Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Host: r.Host,
		Remote: remote, Local: local, Proto: r.Proto, Bytes: n, ID: r.PathValue("id"), Headers: map[string]string{},
	}
	for name, values := range r.Header {
		if shown(name) {
			a.Headers[name] = strings.Join(values, ", ")
		}
	}
	return a, nil
}

// shown says which headers the answer repeats: what proxies add, what tests
// send, and never a credential.
func shown(name string) bool {
	switch name {
	case "Content-Type", "Forwarded", "Idempotency-Key", "Te", "Traceparent", "User-Agent", "Via":
		return true
	}
	return strings.HasPrefix(name, "X-") || strings.HasPrefix(name, "Weir-")
}
