// SPDX-License-Identifier: Apache-2.0

package rls_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	envoy "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	api "weir.dev/weir/api/rls"
	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/rls"
	"weir.dev/weir/sidecar/wire/listen"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

const (
	ok   = "OK OK"
	over = "OVER_LIMIT OVER_LIMIT"
)

func headers(r *envoy.RateLimitResponse) map[string]string {
	out := map[string]string{}
	for _, h := range r.GetResponseHeadersToAdd() {
		out[h.GetKey()] = h.GetValue()
	}
	return out
}

func TestDecision(t *testing.T) {
	s := serve(t, payments())
	first := s.ask(t, pay("a"))
	at := first.GetStatuses()[0]
	if l := at.GetCurrentLimit(); codesString(first) != ok || l.GetRequestsPerUnit() != 2 || l.GetName() != "per-client" ||
		l.GetUnit() != envoy.RateLimitResponse_RateLimit_MINUTE || at.GetLimitRemaining() != 1 || at.GetDurationUntilReset().AsDuration() < time.Second {
		t.Errorf("first: %v", first)
	}
	if h := headers(first); h["RateLimit-Policy"] != `"per-client";q=2;w=60` || !strings.HasPrefix(h["RateLimit"], `"per-client";r=1;t=`) || len(h) != 2 {
		t.Errorf("first: fields %v", h)
	}
	if len(first.GetRawBody()) != 0 {
		t.Errorf("first: body %q", first.GetRawBody())
	}
	s.want(t, ok, pay("a"))
	s.want(t, over, pay("a"))
	s.want(t, ok, pay("b"))
	if s.counts.calls["OK"] != 3 || s.counts.calls["OVER_LIMIT"] != 1 {
		t.Errorf("counted %v", s.counts.calls)
	}
}

// A gateway's client is told what a sidecar's is, byte by byte.
func TestSameBytesAsSidecar(t *testing.T) {
	s := serve(t, payments())
	e := engine.New(engine.Options{})
	defer e.Close()
	if err := e.Apply(payments()); err != nil {
		t.Fatal(err)
	}
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer app.Close()
	server := wirehttp.New(wirehttp.Config{Ports: e, Logger: slog.New(slog.DiscardHandler)})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- listen.Serve(ctx, l, listen.Fixed(8080, app.Listener.Addr().String()), server, slog.New(slog.DiscardHandler))
	}()
	client := &http.Client{Transport: &http.Transport{}}
	defer func() {
		client.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = server.Shutdown(context.Background())
	}()
	seconds := func(s string) string { // t depends on when in a slot the test runs
		if i := strings.Index(s, ";t="); i >= 0 {
			return s[:i]
		}
		return s
	}
	for i := range 3 {
		req, _ := http.NewRequest(http.MethodPost, "http://"+l.Addr().String()+"/users/7/payments?x=1", nil)
		req.Header.Set("X-Client-Id", "a")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		got := s.ask(t, pay("a"))
		want := map[string]string{}
		for _, name := range []string{"RateLimit", "RateLimit-Policy", "Retry-After", "Content-Type", "Cache-Control"} {
			if v := resp.Header.Get(name); v != "" {
				want[name] = v
			}
		}
		if (resp.StatusCode == 429) != (got.GetOverallCode() == envoy.RateLimitResponse_OVER_LIMIT) {
			t.Errorf("request %d: %d, and %v", i, resp.StatusCode, got)
		}
		have := headers(got)
		for name := range want {
			if a, b := seconds(have[name]), seconds(want[name]); a != b && name != "Retry-After" {
				t.Errorf("request %d: %s is %q, a sidecar says %q", i, name, a, b)
			}
		}
		if len(have) != len(want) {
			t.Errorf("request %d: fields %v, a sidecar's are %v", i, have, want)
		}
		strip := func(b []byte) string { s, _, _ := strings.Cut(string(b), "retry in"); return s }
		if strip(got.GetRawBody()) != strip(body) {
			t.Errorf("request %d: body %q, a sidecar's is %q", i, got.GetRawBody(), body)
		}
	}
}

func TestDescriptors(t *testing.T) {
	const path = "/users/7/payments"
	long := make([]string, 0, 130)
	for range 65 {
		long = append(long, "header:a", "b")
	}
	for name, c := range map[string]struct {
		desc []string
		// third is what the third of the kind gets: over where the limit counts it.
		third string
	}{
		"counted":                            {[]string{"method", "POST", "path", path, "header:x-client-id", "a"}, over},
		"names of headers have no case":      {[]string{"method", "POST", "path", path, "header:X-Client-ID", "a"}, over},
		"methods likewise":                   {[]string{"method", "post", "path", path, "header:x-client-id", "a"}, over},
		"path is normalised":                 {[]string{"method", "POST", "path", "//users/./7/p%61yments/", "header:x-client-id", "a"}, over},
		"no header: by address":              {[]string{"method", "POST", "path", path, "remote_address", "192.0.2.1"}, over},
		"no address either":                  {[]string{"method", "POST", "path", path}, over},
		"another path":                       {[]string{"method", "POST", "path", "/users", "header:x-client-id", "a"}, ok},
		"no path":                            {[]string{"method", "POST", "header:x-client-id", "a"}, ok},
		"no method":                          {[]string{"path", path, "header:x-client-id", "a"}, ok},
		"hidden limit, below":                {[]string{"method", "GET", "path", "/", "remote_address", "2001:db8::1"}, ok},
		"hidden limit, a key that must be":   {[]string{"method", "GET", "path", "/"}, over},
		"a path that servers read otherwise": {[]string{"method", "POST", "path", "/users/7%2Fpayments"}, over},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, payments())
			var r *envoy.RateLimitResponse
			for range 3 {
				r = s.ask(t, descriptor(c.desc...))
			}
			if got := codesString(r); got != c.third {
				t.Errorf("the third is %s, want %s", got, c.third)
			}
			if strings.HasPrefix(name, "hidden") && (r.GetStatuses()[0].GetCurrentLimit() != nil || headers(r)["RateLimit"] != "") {
				t.Errorf("the limit shows: %v", r)
			}
		})
	}
	s := serve(t, payments())
	for name, c := range map[string]struct {
		desc *common.RateLimitDescriptor
		want string
	}{
		"unknown key":    {descriptor("generic_key", "x"), `entry "generic_key" is not known; use method, path, header:<name> and remote_address`},
		"thrift":         {descriptor("thrift:pay", "x"), "Thrift is not supported"},
		"no name":        {descriptor("header:", "x"), "is not known"},
		"twice":          {descriptor("path", "/", "path", "/a"), `entry "path" comes twice`},
		"no address":     {descriptor("remote_address", "10.0.0.0/8"), "is no address"},
		"too many":       {descriptor(long...), "has 65 entries"},
		"a limit":        {&common.RateLimitDescriptor{Limit: &common.RateLimitDescriptor_RateLimitOverride{RequestsPerUnit: 9, Unit: typev3.RateLimitUnit_DAY}}, "a limit of its own"},
		"no hits":        {&common.RateLimitDescriptor{HitsAddend: wrapperspb.UInt64(0)}, "hits_addend is 0"},
		"less than none": {&common.RateLimitDescriptor{IsNegativeHits: true}, "is_negative_hits"},
	} {
		t.Run(name, func(t *testing.T) {
			// What comes before it is not spent.
			_, err := s.client.ShouldRateLimit(t.Context(), &envoy.RateLimitRequest{Domain: domain, Descriptors: []*common.RateLimitDescriptor{pay("a"), c.desc}})
			if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "descriptor 1") {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
		})
	}
	s.want(t, ok, pay("a"))
	s.want(t, ok, pay("a"))
	if _, err := s.client.ShouldRateLimit(t.Context(), &envoy.RateLimitRequest{Domain: domain}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("no descriptor: %v", err)
	}
}

// A byte that is not UTF-8 is no way past a limit.
func TestValuesAreBytes(t *testing.T) {
	s := serve(t, payments())
	for i := range 3 {
		r := &api.Request{Domain: []byte(domain), Descriptors: []*api.Descriptor{{Entries: []*api.Entry{
			{Key: []byte("method"), Value: []byte("POST")}, {Key: []byte("path"), Value: []byte("/users/7/payments")},
			{Key: []byte("header:x-client-id"), Value: []byte("\xff\xfe")},
		}}}}
		out := &envoy.RateLimitResponse{}
		if err := s.conn.Invoke(t.Context(), envoy.RateLimitService_ShouldRateLimit_FullMethodName, r, out); err != nil {
			t.Fatal(err)
		}
		if over := out.GetOverallCode() == envoy.RateLimitResponse_OVER_LIMIT; over != (i == 2) {
			t.Errorf("request %d: %v", i, out)
		}
	}
}

func TestSeveralDescriptors(t *testing.T) {
	s := serve(t, payments())
	s.want(t, "OK OK OK", pay("a"), pay("b"))
	s.want(t, "OK OK OK", pay("a"), pay("c"))
	// a is over: what comes after is not asked, and spends nothing.
	s.want(t, "OVER_LIMIT OK OVER_LIMIT UNKNOWN", pay("b"), pay("a"), pay("c"))
	s.want(t, "OK OK", pay("c"))
	s.want(t, over, pay("b"))
	r := s.ask(t, pay("d"), pay("e"))
	if n := len(r.GetResponseHeadersToAdd()); n != 4 {
		t.Errorf("%d fields for two descriptors, want 4", n)
	}
}

func TestHits(t *testing.T) {
	snap := payments()
	snap.RateLimitPolicies[0].Limits[0].Limit = 10
	s := serve(t, snap)
	ask := func(hits uint32, d *common.RateLimitDescriptor) *envoy.RateLimitResponse {
		r, err := s.client.ShouldRateLimit(t.Context(), &envoy.RateLimitRequest{Domain: domain, Descriptors: []*common.RateLimitDescriptor{d}, HitsAddend: hits})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := ask(6, pay("a")); codesString(r) != ok || r.GetStatuses()[0].GetLimitRemaining() != 4 {
		t.Errorf("6 of 10: %v", r)
	}
	if r := ask(5, pay("a")); codesString(r) != over || !strings.Contains(string(r.GetRawBody()), "this one counts as 5") {
		t.Errorf("5 of 4: %v", r)
	}
	own := pay("a")
	own.HitsAddend = wrapperspb.UInt64(4)
	if r := ask(9, own); codesString(r) != ok || r.GetStatuses()[0].GetLimitRemaining() != 0 {
		t.Errorf("4 of 4, said by the descriptor: %v", r)
	}
	for _, hits := range []uint32{11, 1 << 31} {
		if r := ask(hits, pay("b")); codesString(r) != over || !strings.Contains(string(r.GetRawBody()), "never lets") || headers(r)["Retry-After"] != "" {
			t.Errorf("%d of 10: %v", hits, r)
		}
	}
	if r := ask(10, pay("b")); codesString(r) != ok {
		t.Errorf("what never fits has spent: %v", r)
	}
}

func TestUnknownDomain(t *testing.T) {
	s := serve(t, payments())
	for range 2 {
		r, err := s.client.ShouldRateLimit(t.Context(), &envoy.RateLimitRequest{Domain: "shop/paymets/http", Descriptors: []*common.RateLimitDescriptor{pay("a"), pay("a")}})
		if err != nil || codesString(r) != "OK OK OK" {
			t.Fatalf("%v, error %v", r, err)
		}
	}
	if s.counts.unknown != 2 || strings.Count(s.log.String(), "shop/paymets/http") != 1 {
		t.Errorf("counted %d, log:\n%s", s.counts.unknown, s.log)
	}
	r, err := s.client.ShouldRateLimit(t.Context(), &envoy.RateLimitRequest{Domain: "shop/payments/free", Descriptors: []*common.RateLimitDescriptor{pay("a")}})
	if err != nil || codesString(r) != ok || s.counts.unknown != 2 {
		t.Errorf("a port without policy: %v, error %v", r, err)
	}
}

func TestModes(t *testing.T) {
	closed := func(p snapshot.FailurePolicy) func(*snapshot.Snapshot) {
		return func(s *snapshot.Snapshot) {
			s.Stores = []*snapshot.Store{{Name: "r", Redis: &snapshot.Redis{Mode: snapshot.Redis_MODE_STANDALONE, Addresses: []string{"127.0.0.1:1"}, KeyPrefix: "w"}}}
			s.RateLimitPolicies[0].Store, s.RateLimitPolicies[0].FailurePolicy = "r", p
			s.RateLimitPolicies[0].Limits[0].Scope = snapshot.Scope_SCOPE_CLUSTER
		}
	}
	for name, c := range map[string]struct {
		change func(*snapshot.Snapshot)
		// third and its problem.
		third, problem string
		names          []string
	}{
		"Enforce":       {func(*snapshot.Snapshot) {}, over, "quota-exceeded", []string{"Cache-Control", "Content-Type", "RateLimit", "RateLimit-Policy", "Retry-After"}},
		"Shadow":        {func(s *snapshot.Snapshot) { s.RateLimitPolicies[0].Limits[0].Shadow = true }, ok, "", nil},
		"no fields":     {func(s *snapshot.Snapshot) { s.RateLimitPolicies[0].Headers = snapshot.HeaderStyle_HEADER_STYLE_NONE }, over, "quota-exceeded", []string{"Cache-Control", "Content-Type", "Retry-After"}},
		"LocalFallback": {closed(snapshot.FailurePolicy_FAILURE_POLICY_LOCAL_FALLBACK), over, "quota-exceeded", []string{"Cache-Control", "Content-Type", "RateLimit", "RateLimit-Policy", "Retry-After"}},
		"Open":          {closed(snapshot.FailurePolicy_FAILURE_POLICY_OPEN), ok, "", []string{"RateLimit-Policy"}},
		"Closed":        {closed(snapshot.FailurePolicy_FAILURE_POLICY_CLOSED), over, "store-unavailable", []string{"Cache-Control", "Content-Type", "Retry-After"}},
		"XRateLimit": {func(s *snapshot.Snapshot) {
			s.RateLimitPolicies[0].Headers = snapshot.HeaderStyle_HEADER_STYLE_X_RATE_LIMIT
		}, over, "quota-exceeded", []string{"Cache-Control", "Content-Type", "Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}},
	} {
		t.Run(name, func(t *testing.T) {
			snap := payments()
			c.change(snap)
			s := serve(t, snap)
			var r *envoy.RateLimitResponse
			for range 3 {
				r = s.ask(t, pay("a"))
			}
			if codesString(r) != c.third || !strings.Contains(string(r.GetRawBody()), c.problem) || (c.problem == "") != (len(r.GetRawBody()) == 0) {
				t.Errorf("the third: %v", r)
			}
			if c.problem != "" && !strings.Contains(string(r.GetRawBody()), `"status":429`) {
				t.Errorf("Envoy's answer has another status than its body: %s", r.GetRawBody())
			}
			names := []string(nil)
			for _, h := range r.GetResponseHeadersToAdd() {
				names = append(names, h.GetKey())
			}
			if d := cmp.Diff(c.names, slices.Sorted(slices.Values(names))); d != "" {
				t.Errorf("fields (-want +got):\n%s", d)
			}
		})
	}
}

func TestNotEnforceable(t *testing.T) {
	snap := payments()
	l := snap.RateLimitPolicies[0].Limits[0]
	l.Algorithm, l.WindowSeconds, l.Match = snapshot.Algorithm_ALGORITHM_CONCURRENCY, 0, nil
	if err := rls.Enforceable(snap); err == nil || !strings.Contains(err.Error(), "RateLimitPolicy pay: limit per-client counts requests in progress") {
		t.Errorf("error %v", err)
	}
	// Served all the same, as a cluster's service does, its domains are errors.
	_, err := serve(t, snap).client.ShouldRateLimit(t.Context(), &envoy.RateLimitRequest{Domain: domain, Descriptors: []*common.RateLimitDescriptor{pay("a")}})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "limit per-client counts requests in progress") {
		t.Errorf("served: error %v", err)
	}
	calls := payments()
	for _, p := range calls.GetPorts() {
		p.Protocol = snapshot.Protocol_PROTOCOL_THRIFT
	}
	if err := rls.Enforceable(calls); err == nil || !strings.Contains(err.Error(), "which speaks Thrift") {
		t.Errorf("a port of Thrift: %v", err)
	}
	if err := rls.Enforceable(payments()); err != nil {
		t.Error(err)
	}
	good := engine.New(engine.Options{})
	defer good.Close()
	if err := good.Apply(payments()); err != nil {
		t.Fatal(err)
	}
	d := rls.Domains{}
	if err := d.Add(payments(), good); err != nil {
		t.Fatal(err)
	}
	if err := d.Add(payments(), good); err == nil || !strings.Contains(err.Error(), "comes twice") {
		t.Errorf("twice: error %v", err)
	}
}

// Kubernetes and Envoy ask whether it serves.
func TestHealth(t *testing.T) {
	s := serve(t, payments())
	for _, name := range []string{"", api.ServiceName} {
		r, err := healthpb.NewHealthClient(s.conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: name})
		if err != nil || r.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("service %q: %v, error %v", name, r, err)
		}
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if _, err := s.client.ShouldRateLimit(t.Context(), &envoy.RateLimitRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("after the end: %v", err)
	}
}

// Complaints have a bound, whatever callers make up.
func TestComplaintsAreFew(t *testing.T) {
	s := serve(t, payments())
	for i := range 200 {
		_, _ = s.client.ShouldRateLimit(t.Context(), &envoy.RateLimitRequest{Domain: fmt.Sprint(i), Descriptors: []*common.RateLimitDescriptor{pay("a")}})
	}
	if n := strings.Count(s.log.String(), "\n"); n != 64 {
		t.Errorf("%d lines in the log, want 64", n)
	}
}
