// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// How long the lock and the response are kept.
const (
	lockFor = 30 * time.Second
	keepFor = 24 * time.Hour
)

func main() {
	store := flag.String("redis", "", "`address` of the Redis")
	upstream := flag.String("upstream", "", "`address` of the application")
	once := flag.String("once", "", "`address` to listen on")
	plain := flag.String("plain", "", "`address` to listen on without idempotency")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *store, *upstream, *once, *plain); err != nil {
		fmt.Fprintln(os.Stderr, "naiveidem:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, store, upstream, once, plain string) error {
	client := redis.NewClient(&redis.Options{Addr: store, PoolSize: 64})
	defer client.Close()
	target, err := url.Parse("http://" + upstream)
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
			r.SetXForwarded()
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
		ErrorLog:  log.New(os.Stderr, "", 0),
	}
	failed := make(chan error, 2)
	for address, h := range map[string]http.Handler{once: &guard{next: proxy, store: client}, plain: proxy} {
		s := &http.Server{Addr: address, Handler: h, ReadHeaderTimeout: 10 * time.Second}
		context.AfterFunc(ctx, func() { _ = s.Close() })
		go func() { failed <- s.ListenAndServe() }()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// kept is a response in the Redis.
type kept struct {
	Status int
	Header http.Header
	Body   []byte
}

// guard lets one of the requests of a key through.
type guard struct {
	next  http.Handler
	store *redis.Client
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		g.next.ServeHTTP(w, r)
		return
	}
	if err := g.serve(w, r, "naive:"+r.Header.Get("X-Client-Id")+":"+key); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

// serve returns an error where it has not answered.
func (g *guard) serve(w http.ResponseWriter, r *http.Request, key string) error {
	ctx, lock := r.Context(), key+":lock"
	if done, err := g.replay(ctx, w, key); done || err != nil {
		return err
	}
	mine, err := g.store.SetNX(ctx, lock, "1", lockFor).Result()
	if err != nil {
		return err
	}
	if !mine {
		http.Error(w, "a request with this key is in progress", http.StatusConflict)
		return nil
	}
	// Whoever had the lock may have stored its response since.
	if done, err := g.replay(ctx, w, key); done || err != nil {
		return errors.Join(err, g.store.Del(ctx, lock).Err())
	}
	rec := &recorder{header: http.Header{}, status: http.StatusOK}
	g.next.ServeHTTP(rec, r)
	b, err := json.Marshal(kept{rec.status, rec.header, rec.body.Bytes()})
	if err != nil {
		return err
	}
	if err := g.store.Set(ctx, key, b, keepFor).Err(); err != nil {
		return err
	}
	if err := g.store.Del(ctx, lock).Err(); err != nil {
		return err
	}
	write(w, rec.status, rec.header, rec.body.Bytes())
	return nil
}

func (g *guard) replay(ctx context.Context, w http.ResponseWriter, key string) (done bool, err error) {
	b, err := g.store.Get(ctx, key).Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		return false, nil
	case err != nil:
		return false, err
	}
	var k kept
	if err := json.Unmarshal(b, &k); err != nil {
		return false, err
	}
	w.Header().Set("Idempotent-Replayed", "true")
	write(w, k.Status, k.Header, k.Body)
	return true, nil
}

func write(w http.ResponseWriter, status int, header http.Header, body []byte) {
	maps.Copy(w.Header(), header)
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// recorder keeps a response.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) { r.status = status }

func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
