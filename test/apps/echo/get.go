// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// result is one line of output: an answer, or with -summary a kind of answer.
type result struct {
	Status  int         `json:"status"`            // 0 if no answer came
	Count   int         `json:"count,omitempty"`   // with -summary
	Retried int         `json:"retried,omitempty"` // requests that Go's client sent again by itself, on a new connection
	Error   string      `json:"error,omitempty"`
	Header  http.Header `json:"header,omitempty"`
	Body    string      `json:"body,omitempty"`
	MS      float64     `json:"ms,omitempty"` // until the end of the body; with -summary the longest
}

// load is what `echo get` has to send.
type load struct {
	url, method, body, host string
	header                  http.Header
	n, c                    int
	duration                time.Duration
	untilEOF                bool
	stop                    chan struct{} // closed: no more are sent
	summary                 bool
	out                     printer
	client                  *http.Client
}

func get(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	l, fail, err := parseLoad(args, stderr)
	if err != nil {
		return err
	}
	if l.untilEOF {
		go func() {
			_, _ = io.Copy(io.Discard, stdin) // an error is an end too
			close(l.stop)
		}()
	}
	results := l.run(ctx)
	bad := 0
	for _, r := range results {
		if r.Status == 0 || r.Status >= 400 {
			bad += max(1, r.Count)
		}
	}
	if err := l.out.print(stdout, results); err != nil {
		return err
	}
	if fail && bad > 0 {
		return fmt.Errorf("%d requests failed", bad)
	}
	return nil
}

func parseLoad(args []string, stderr io.Writer) (*load, bool, error) {
	l := &load{header: http.Header{}, stop: make(chan struct{})}
	fs := flag.NewFlagSet("echo get", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&l.n, "n", 1, "how many requests to send")
	fs.IntVar(&l.c, "c", 1, "how many at a time")
	fs.DurationVar(&l.duration, "d", 0, "send for so long instead of -n requests")
	fs.BoolVar(&l.untilEOF, "until-eof", false, "send until standard input ends instead of -n requests")
	fs.StringVar(&l.method, "X", http.MethodGet, "method")
	fs.StringVar(&l.body, "body", "", "body of each request")
	fs.Func("H", "header, `Name: value` (repeatable; Host too)", func(s string) error {
		name, value, ok := strings.Cut(s, ":")
		if !ok {
			return fmt.Errorf("want \"Name: value\", got %q", s)
		}
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if strings.EqualFold(name, "Host") {
			l.host = value
			return nil
		}
		l.header.Add(name, value)
		return nil
	})
	fs.BoolVar(&l.summary, "summary", false, "print one line for each status and error, with its count")
	fs.Func("columns", "print a table of statuses and these header fields, with commas between", func(s string) error {
		l.out.columns = strings.Split(s, ",")
		return nil
	})
	fs.BoolVar(&l.out.whole, "whole", false, "print answers as HTTP has them")
	fail := fs.Bool("fail", false, "exit 1 if a request got no answer or one of 400 and above")
	timeout := fs.Duration("timeout", 10*time.Second, "of one request")
	closing := fs.Bool("close", false, "open a connection for each request")
	insecure := fs.Bool("k", false, "don't verify TLS certificates")
	if err := fs.Parse(args); err != nil {
		return nil, false, err
	}
	if fs.NArg() != 1 {
		return nil, false, fmt.Errorf("get: want one URL, after the flags; got %q", fs.Args())
	}
	l.url = fs.Arg(0)
	if l.n < 1 || l.c < 1 {
		return nil, false, fmt.Errorf("get: -n and -c want at least 1")
	}
	if l.duration > 0 || l.untilEOF {
		l.n = -1
	}
	l.client = &http.Client{
		Timeout:       *timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableKeepAlives:   *closing,
			DisableCompression:  true,
			MaxIdleConnsPerHost: l.c,
			TLSClientConfig:     &tls.Config{InsecureSkipVerify: *insecure}, //nolint:gosec // asked for with -k
		},
	}
	return l, *fail, nil
}

// run sends everything and returns the results in the order the answers came,
// or a summary.
func (l *load) run(ctx context.Context) []result {
	defer l.client.CloseIdleConnections()
	end := time.Time{}
	if l.duration > 0 {
		end = time.Now().Add(l.duration)
	}
	var sent atomic.Int64
	var mu sync.Mutex
	var all []result
	sums := map[string]*result{}
	var wg sync.WaitGroup
	for range l.c {
		wg.Go(func() {
			for ctx.Err() == nil {
				if l.n > 0 && sent.Add(1) > int64(l.n) || !end.IsZero() && time.Now().After(end) {
					return
				}
				select {
				case <-l.stop:
					return
				default:
				}
				r := l.one(ctx)
				mu.Lock()
				if l.summary {
					sum(sums, r)
				} else {
					all = append(all, r)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, s := range sums {
		all = append(all, *s)
	}
	if l.summary {
		sort.Slice(all, func(i, j int) bool {
			return all[i].Status < all[j].Status || all[i].Status == all[j].Status && all[i].Error < all[j].Error
		})
	}
	return all
}

func sum(sums map[string]*result, r result) {
	key := fmt.Sprint(r.Status, r.Error)
	s := sums[key]
	if s == nil {
		s = &result{Status: r.Status, Error: r.Error}
		sums[key] = s
	}
	s.Count++
	s.Retried += r.Retried
	s.MS = max(s.MS, r.MS)
}

func (l *load) one(ctx context.Context) result {
	start := time.Now()
	connections := 0
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connections++ },
	})
	r := l.exchange(ctx)
	r.Retried = max(0, connections-1)
	r.MS = float64(time.Since(start).Microseconds()) / 1000
	return r
}

func (l *load) exchange(ctx context.Context) result {
	req, err := http.NewRequestWithContext(ctx, l.method, l.url, bytes.NewReader([]byte(l.body)))
	if err != nil {
		return result{Error: err.Error()}
	}
	req.Header = l.header.Clone()
	req.Host = l.host
	resp, err := l.client.Do(req)
	if err != nil {
		return result{Error: cause(err)}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if resp.Close {
		resp.Header.Set("Connection", "close") // as it came: Go's client takes it out
	}
	r := result{Status: resp.StatusCode, Header: resp.Header, Body: string(body)}
	if err != nil {
		// An answer that breaks off is none.
		r.Status, r.Error = 0, fmt.Sprintf("status %d, body broke off after %d bytes: %s", resp.StatusCode, len(body), cause(err))
	}
	return r
}

// cause leaves out of a network error what differs from one connection to the
// next (the ports), so that a summary can count it.
func cause(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op + ": " + op.Err.Error()
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err.Error()
	}
	return err.Error()
}
