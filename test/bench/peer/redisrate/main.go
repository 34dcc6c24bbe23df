// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
)

// ports are the values of --port.
type ports []port

type port struct {
	name, listen string
	// limit is zero where the port has none.
	limit redis_rate.Limit
}

func (p *ports) String() string { return fmt.Sprintf("%d ports", len(*p)) }

// Set reads NAME,LISTEN or NAME,LISTEN,LIMIT,BURST,SECONDS.
func (p *ports) Set(s string) error {
	fields := strings.Split(s, ",")
	if len(fields) != 2 && len(fields) != 5 {
		return errors.New("want NAME,LISTEN or NAME,LISTEN,LIMIT,BURST,SECONDS")
	}
	next := port{name: fields[0], listen: fields[1]}
	if len(fields) == 5 {
		var n [3]int
		for i := range n {
			v, err := strconv.Atoi(fields[i+2])
			if err != nil {
				return err
			}
			n[i] = v
		}
		next.limit = redis_rate.Limit{Rate: n[0], Burst: n[1], Period: time.Duration(n[2]) * time.Second}
	}
	*p = append(*p, next)
	return nil
}

func main() {
	var all ports
	store := flag.String("redis", "", "`address` of the Redis")
	upstream := flag.String("upstream", "", "`address` of the application")
	admin := flag.String("admin", "", "`address` for metrics")
	flag.Var(&all, "port", "`NAME,LISTEN[,LIMIT,BURST,SECONDS]`, several times")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *store, *upstream, *admin, all); err != nil {
		fmt.Fprintln(os.Stderr, "redisrate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, store, upstream, admin string, all ports) error {
	client := redis.NewClient(&redis.Options{Addr: store})
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
	var requests atomic.Int64
	failed := make(chan error, len(all)+1)
	serve := func(address string, h http.Handler) {
		s := &http.Server{Addr: address, Handler: h, ReadHeaderTimeout: 10 * time.Second}
		context.AfterFunc(ctx, func() { _ = s.Close() })
		failed <- s.ListenAndServe()
	}
	for _, p := range all {
		g := &guard{next: proxy, limiter: redis_rate.NewLimiter(client), port: p, requests: &requests}
		go serve(p.listen, g)
	}
	go serve(admin, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "requests_total %d\n", requests.Load())
	}))
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// guard asks about each request before it goes on.
type guard struct {
	next     http.Handler
	limiter  *redis_rate.Limiter
	port     port
	requests *atomic.Int64
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.requests.Add(1)
	if g.port.limit.IsZero() {
		g.next.ServeHTTP(w, r)
		return
	}
	verdict, err := g.limiter.Allow(r.Context(), g.port.name+":"+r.Header.Get("X-Client-Id"), g.port.limit)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	h := w.Header()
	h.Set("X-Ratelimit-Limit", strconv.Itoa(g.port.limit.Rate))
	h.Set("X-Ratelimit-Remaining", strconv.Itoa(verdict.Remaining))
	if verdict.Allowed == 0 {
		h.Set("Retry-After", strconv.Itoa(int(verdict.RetryAfter/time.Second)+1))
		http.Error(w, "too many requests", http.StatusTooManyRequests)
		return
	}
	g.next.ServeHTTP(w, r)
}
