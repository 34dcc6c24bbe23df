// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/interop"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"weir.dev/weir/sidecar/exchange"

	testpb "google.golang.org/grpc/interop/grpc_testing"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// grpcApp runs gRPC's own interop server.
func grpcApp(t testing.TB, options ...grpc.ServerOption) (*grpc.Server, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(options...)
	testpb.RegisterTestServiceServer(s, interop.NewTestServer())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(ln) })
	t.Cleanup(func() { s.Stop(); wg.Wait() })
	return s, ln.Addr().String()
}

func grpcClient(t testing.TB, address string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient(address, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// gRPC's own interoperability cases hold through Weir.
func TestInterop(t *testing.T) {
	for name, protocol := range map[string]exchange.Protocol{"grpc": exchange.GRPC, "h2c": exchange.H2C, "auto": exchange.Auto} {
		t.Run(name, func(t *testing.T) {
			_, addr := grpcApp(t)
			_, front := proxy(t, wirehttp.Config{Ports: onPort(protocol)}, addr)
			cc := grpcClient(t, front)
			tc := testpb.NewTestServiceClient(cc)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			interop.DoEmptyUnaryCall(ctx, tc)
			interop.DoLargeUnaryCall(ctx, tc)
			interop.DoLargeUnaryCall(ctx, tc, grpc.UseCompressor(gzip.Name))
			interop.DoClientStreaming(ctx, tc)
			interop.DoServerStreaming(ctx, tc)
			interop.DoPingPong(ctx, tc)
			interop.DoEmptyStream(ctx, tc)
			interop.DoTimeoutOnSleepingServer(ctx, tc)
			cancelAfterBegin(ctx, t, tc)
			interop.DoCancelAfterFirstResponse(ctx, tc)
			interop.DoCustomMetadata(ctx, tc)
			interop.DoStatusCodeAndMessage(ctx, tc)
			interop.DoSpecialStatusMessage(ctx, tc)
			interop.DoUnimplementedMethod(ctx, cc)
			interop.DoUnimplementedService(ctx, testpb.NewUnimplementedServiceClient(cc))
		})
	}
}

// cancelAfterBegin is interop.DoCancelAfterBegin without the half-close after the
// cancel: with it a client that waits for a CPU gets the answer first, now and then,
// with no proxy between, and interop ends the process.
func cancelAfterBegin(ctx context.Context, t *testing.T, tc testpb.TestServiceClient) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := tc.StreamingInputCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := s.RecvMsg(&testpb.StreamingInputCallResponse{}); status.Code(err) != codes.Canceled {
		t.Errorf("got %v, want %v", err, codes.Canceled)
	}
}

// What Weir denies is a status with details that gRPC's clients read.
func TestDenialGRPC(t *testing.T) {
	for name, test := range map[string]struct {
		denial exchange.Denial
		code   codes.Code
		retry  time.Duration
	}{
		"limit":       {exchange.Denial{Status: 429, Type: "https://weir.dev/problems/rate-limited", Detail: "Zu viel: 100 % «jetzt».", Limits: []string{"a", "b"}, Policy: "shop/pay", RetryAfter: 1500 * time.Millisecond}, codes.ResourceExhausted, 1500 * time.Millisecond},
		"unavailable": {exchange.Denial{Status: 503, Type: "urn:x", Detail: "later", RetryAfter: 2 * time.Second}, codes.Unavailable, 2 * time.Second},
		"exhausted":   {exchange.Denial{Status: 503, Type: "urn:x", Detail: "busy", RetryAfter: time.Second, Exhausted: true}, codes.ResourceExhausted, time.Second},
		"bad gateway": {exchange.Denial{Status: 502, Detail: "gone"}, codes.Unavailable, 0},
		"bad request": {exchange.Denial{Status: 400, Detail: "no key"}, codes.Internal, 0},
		"timeout":     {exchange.Denial{Status: 504, Detail: "late"}, codes.DeadlineExceeded, 0},
		"forbidden":   {exchange.Denial{Status: 403, Detail: "no"}, codes.PermissionDenied, 0},
		"large":       {exchange.Denial{Status: 413, Detail: "large"}, codes.ResourceExhausted, 0},
		"other":       {exchange.Denial{Status: 418, Detail: "tea"}, codes.Unknown, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := &testFilter{head: func(x *exchange.Exchange) exchange.Verdict {
				if !x.GRPC || string(x.Path) != "/grpc.testing.TestService/EmptyCall" {
					t.Errorf("x: %v %s", x.GRPC, x.Path)
				}
				x.Add("RateLimit", []byte(`"a";r=0;t=2`))
				x.Deny(test.denial)
				return exchange.Respond
			}}
			var counted []int
			_, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.GRPC, f), Metrics: wirehttp.Metrics{
				Request: func(_ uint16, p wirehttp.Protocol, status int, _ time.Time) {
					if p != wirehttp.GRPC {
						t.Errorf("counted as %v", p)
					}
					counted = append(counted, status)
				},
			}}, "127.0.0.1:1")
			var header, trailer metadata.MD
			_, err := testpb.NewTestServiceClient(grpcClient(t, front)).EmptyCall(t.Context(), &testpb.Empty{}, grpc.Header(&header), grpc.Trailer(&trailer))
			st := status.Convert(err)
			if st.Code() != test.code || st.Message() != test.denial.Detail {
				t.Errorf("got %v %q", st.Code(), st.Message())
			}
			if got := trailer.Get("ratelimit"); len(got) != 1 || got[0] != `"a";r=0;t=2` {
				t.Errorf("ratelimit: %q", got)
			}
			var retry time.Duration
			for _, d := range st.Details() {
				switch d := d.(type) {
				case *errdetails.RetryInfo:
					retry = d.GetRetryDelay().AsDuration()
				case *errdetails.ErrorInfo:
					if name == "limit" {
						want := map[string]string{"type": "https://weir.dev/problems/rate-limited", "policy": "shop/pay", "limits": "a,b"}
						if diff := cmp.Diff(want, d.GetMetadata()); diff != "" || d.GetReason() != "RATE_LIMITED" || d.GetDomain() != "weir.dev" {
							t.Errorf("%s %s (-want +got):\n%s", d.GetReason(), d.GetDomain(), diff)
						}
					}
				default:
					t.Errorf("detail %T", d)
				}
			}
			if retry != test.retry {
				t.Errorf("retry after %v, want %v", retry, test.retry)
			}
			if diff := cmp.Diff([]int{int(test.code)}, counted); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// rawCall posts a gRPC call that no gRPC library watches over.
func rawCall(t *testing.T, front, timeout string, body io.Reader) *http.Response {
	t.Helper()
	req, _ := http.NewRequest("POST", "http://"+front+"/a.B/C", body)
	req.Header = http.Header{"Content-Type": {"application/grpc+proto"}, "Te": {"trailers"}}
	if timeout != "" {
		req.Header["Grpc-Timeout"] = []string{timeout}
	}
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// A call that outlives its own deadline is ended, before its head and after it.
func TestDeadline(t *testing.T) {
	for name, test := range map[string]struct {
		headed  bool
		timeout string
		want    string
	}{"no head": {false, "20m", "4"}, "headed": {true, "20m", "4"}, "no timeout": {true, "12x", "0"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan struct{})
			addr := app(t, func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("Grpc-Timeout"); got != test.timeout || r.Header.Get("Te") != "trailers" {
					t.Errorf("the application got %v", r.Header)
				}
				if test.headed {
					w.Header().Set("Content-Type", "application/grpc+proto")
					_ = http.NewResponseController(w).Flush()
				}
				if test.want == "4" {
					<-r.Context().Done()
				}
				w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
				close(ended)
			})
			f := &testFilter{ended: make(chan struct{}, 1)}
			_, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.GRPC, f)}, addr)
			resp := rawCall(t, front, test.timeout, strings.NewReader("\x00\x00\x00\x00\x00"))
			_ = readAll(t, resp)
			got := resp.Trailer.Get("Grpc-Status")
			if test.want == "4" && !test.headed {
				got = resp.Header.Get("Grpc-Status")
			}
			if got != test.want {
				t.Errorf("got grpc-status %q: %v %v", got, resp.Header, resp.Trailer)
			}
			<-ended
			<-f.ended
		})
	}
}

// A call that the application does not end gets a status, so that nobody takes
// what has come for the whole.
func TestCallBrokenOff(t *testing.T) {
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		_, _ = w.Write([]byte("\x00\x00\x00\x00\x00"))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	_, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.GRPC)}, addr)
	resp := rawCall(t, front, "", strings.NewReader("\x00\x00\x00\x00\x00"))
	if b := readAll(t, resp); len(b) != 5 || resp.Trailer.Get("Grpc-Status") != "13" {
		t.Errorf("got %q, %v", b, resp.Trailer)
	}
	// The connection itself ends.
	s, addr := grpcApp(t)
	_, front = proxy(t, wirehttp.Config{Ports: onPort(exchange.GRPC)}, addr)
	call, err := testpb.NewTestServiceClient(grpcClient(t, front)).FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = call.Send(&testpb.StreamingOutputCallRequest{ResponseParameters: []*testpb.ResponseParameters{{Size: 1}}})
	if _, err := call.Recv(); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if _, err := call.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
}

func TestUnreachable(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := ln.Addr().String()
	_ = ln.Close()
	f := &testFilter{ended: make(chan struct{}, 9)}
	_, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.GRPC, f)}, nobody)
	_, err = testpb.NewTestServiceClient(grpcClient(t, front)).EmptyCall(t.Context(), &testpb.Empty{})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "does not accept connections") {
		t.Errorf("got %v", err)
	}
	<-f.ended
	resp, err := client(t).Get("http://" + front + "/")
	if err != nil {
		t.Fatal(err)
	}
	if b := readAll(t, resp); resp.StatusCode != 502 || !strings.Contains(b, "upstream-unreachable") {
		t.Errorf("got %d %s", resp.StatusCode, b)
	}
	<-f.ended
	if diff := cmp.Diff([]exchange.Outcome{exchange.NotSent, exchange.NotSent}, f.told()); diff != "" {
		t.Error(diff)
	}
}

// The application comes back: so do calls, and none was sent twice.
func TestReconnect(t *testing.T) {
	s, addr := grpcApp(t)
	_, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.GRPC)}, addr)
	tc := testpb.NewTestServiceClient(grpcClient(t, front))
	if _, err := tc.EmptyCall(t.Context(), &testpb.Empty{}); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if _, err := tc.EmptyCall(t.Context(), &testpb.Empty{}); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	again := grpc.NewServer()
	testpb.RegisterTestServiceServer(again, interop.NewTestServer())
	var wg sync.WaitGroup
	wg.Go(func() { _ = again.Serve(ln) })
	defer wg.Wait()
	defer again.Stop()
	if _, err := tc.EmptyCall(t.Context(), &testpb.Empty{}); err != nil {
		t.Error(err)
	}
}

func TestParseTimeout(t *testing.T) {
	for v, want := range map[string]time.Duration{
		"1H": time.Hour, "20m": 20 * time.Millisecond, "3u": 3 * time.Microsecond, "99999999S": 99999999 * time.Second, "99999999H": longest, "1n": 1, "0S": 0,
	} {
		if got, ok := parseTimeout(v); !ok || got != want && got != longest {
			t.Errorf("%s: %v %v", v, got, ok)
		}
	}
	for _, v := range []string{"", "S", "1", "1x", "-1S", "+1S", "123456789S", "1.5S"} {
		if got, ok := parseTimeout(v); ok {
			t.Errorf("%s: %v", v, got)
		}
	}
}

// Each message goes on when it has come; a large one goes through in pieces.
func TestLargeMessage(t *testing.T) {
	const size = 8 << 20
	_, addr := grpcApp(t, grpc.MaxRecvMsgSize(2*size))
	_, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.GRPC)}, addr)
	tc := testpb.NewTestServiceClient(grpcClient(t, front, grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(2*size))))
	got, err := tc.UnaryCall(t.Context(), &testpb.SimpleRequest{ResponseSize: size, Payload: &testpb.Payload{Body: bytes.Repeat([]byte("x"), size)}})
	if err != nil || len(got.GetPayload().GetBody()) != size {
		t.Errorf("got %d, %v", len(got.GetPayload().GetBody()), err)
	}
}

// Many calls share a connection, and none waits for another.
func TestManyCalls(t *testing.T) {
	_, addr := grpcApp(t, grpc.MaxConcurrentStreams(7))
	_, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.GRPC)}, addr)
	tc := testpb.NewTestServiceClient(grpcClient(t, front))
	var calls []testpb.TestService_FullDuplexCallClient
	for range 30 {
		c, err := tc.FullDuplexCall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		calls = append(calls, c)
	}
	for round := range 2 {
		for i, c := range calls {
			if err := c.Send(&testpb.StreamingOutputCallRequest{ResponseParameters: []*testpb.ResponseParameters{{Size: int32(i)}}}); err != nil {
				t.Fatal(err)
			}
			m, err := c.Recv()
			if err != nil || len(m.GetPayload().GetBody()) != i {
				t.Fatal(fmt.Errorf("round %d, call %d: %w", round, i, err))
			}
		}
	}
	for _, c := range calls {
		_ = c.CloseSend()
		if _, err := c.Recv(); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	}
}
