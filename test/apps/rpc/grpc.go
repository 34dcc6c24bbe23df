// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// cases of gRPC's interop-test-descriptions that need neither TLS nor accounts.
// One that fails ends the process.
func cases(conn *grpc.ClientConn) map[string]func(context.Context) {
	c := grpc_testing.NewTestServiceClient(conn)
	return map[string]func(context.Context){
		"empty_unary":                 func(ctx context.Context) { interop.DoEmptyUnaryCall(ctx, c) },
		"large_unary":                 func(ctx context.Context) { interop.DoLargeUnaryCall(ctx, c) },
		"client_streaming":            func(ctx context.Context) { interop.DoClientStreaming(ctx, c) },
		"server_streaming":            func(ctx context.Context) { interop.DoServerStreaming(ctx, c) },
		"ping_pong":                   func(ctx context.Context) { interop.DoPingPong(ctx, c) },
		"empty_stream":                func(ctx context.Context) { interop.DoEmptyStream(ctx, c) },
		"timeout_on_sleeping_server":  func(ctx context.Context) { interop.DoTimeoutOnSleepingServer(ctx, c) },
		"cancel_after_begin":          func(ctx context.Context) { cancelAfterBegin(ctx, c) },
		"cancel_after_first_response": func(ctx context.Context) { interop.DoCancelAfterFirstResponse(ctx, c) },
		"custom_metadata":             func(ctx context.Context) { interop.DoCustomMetadata(ctx, c) },
		"status_code_and_message":     func(ctx context.Context) { interop.DoStatusCodeAndMessage(ctx, c) },
		"special_status_message":      func(ctx context.Context) { interop.DoSpecialStatusMessage(ctx, c) },
		"unimplemented_method":        func(ctx context.Context) { interop.DoUnimplementedMethod(ctx, conn) },
		"unimplemented_service": func(ctx context.Context) {
			interop.DoUnimplementedService(ctx, grpc_testing.NewUnimplementedServiceClient(conn))
		},
	}
}

// cancelAfterBegin is the case cancel_after_begin. That of package interop half-closes
// after it has cancelled, and then a client that waits for a CPU may get the server's
// answer first: one in some hundred calls on a busy machine, with no proxy between.
func cancelAfterBegin(ctx context.Context, c grpc_testing.TestServiceClient) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.StreamingInputCall(ctx)
	if err != nil {
		log.Fatalf("cancel_after_begin: StreamingInputCall: %v", err)
	}
	cancel()
	if err := s.RecvMsg(&grpc_testing.StreamingInputCallResponse{}); status.Code(err) != codes.Canceled {
		log.Fatalf("cancel_after_begin: got %v, want %v", err, codes.Canceled)
	}
}

func interoperate(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("interop: want HOST:PORT")
	}
	conn, err := dial(args[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	all := cases(conn)
	names := args[1:]
	if len(names) == 0 {
		for name := range all {
			names = append(names, name)
		}
		slices.Sort(names)
	}
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	for _, name := range names {
		if all[name] == nil {
			return fmt.Errorf("interop: there is no case %q", name)
		}
		all[name](ctx)
		fmt.Fprintln(stdout, name, "ok")
	}
	return nil
}

// callResult is what became of one call.
type callResult struct {
	Code    string              `json:"code"`
	Message string              `json:"message,omitempty"`
	RetryMS int64               `json:"retry_ms,omitempty"` // of google.rpc.RetryInfo
	Header  map[string][]string `json:"header,omitempty"`
	Trailer map[string][]string `json:"trailer,omitempty"`
}

func call(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("rpc call", flag.ContinueOnError)
	fs.SetOutput(stderr)
	n := fs.Int("n", 1, "how many calls, one after the other")
	var md []string
	fs.Func("H", "metadata, `name: value` (repeatable)", func(s string) error {
		name, value, ok := strings.Cut(s, ":")
		if !ok {
			return fmt.Errorf("want \"name: value\", got %q", s)
		}
		md = append(md, strings.TrimSpace(name), strings.TrimSpace(value))
		return nil
	})
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return fmt.Errorf("call: want HOST:PORT after the flags, got %q", fs.Args())
	}
	conn, err := dial(fs.Arg(0))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx = metadata.AppendToOutgoingContext(ctx, md...)
	client := grpc_testing.NewTestServiceClient(conn)
	for range *n {
		if err := json.NewEncoder(stdout).Encode(one(ctx, client)); err != nil {
			return err
		}
	}
	return nil
}

func one(ctx context.Context, client grpc_testing.TestServiceClient) callResult {
	ctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	var header, trailer metadata.MD
	_, err := client.EmptyCall(ctx, &grpc_testing.Empty{}, grpc.Header(&header), grpc.Trailer(&trailer))
	s := status.Convert(err)
	r := callResult{Code: s.Code().String(), Message: s.Message(), Header: header, Trailer: trailer}
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			r.RetryMS = info.GetRetryDelay().AsDuration().Milliseconds()
		}
	}
	return r
}

// streamResult is what became of a bidirectional stream.
type streamResult struct {
	Code     string `json:"code"`
	Message  string `json:"message,omitempty"`
	Sent     int    `json:"sent"`
	Answered int    `json:"answered"`
}

func stream(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("rpc stream", flag.ContinueOnError)
	fs.SetOutput(stderr)
	var m messages
	m.flags(fs)
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return fmt.Errorf("stream: want HOST:PORT after the flags, got %q", fs.Args())
	}
	conn, err := dial(fs.Arg(0))
	if err != nil {
		return err
	}
	defer conn.Close()
	m.begin(stdin)
	return json.NewEncoder(stdout).Encode(converse(ctx, grpc_testing.NewTestServiceClient(conn), &m))
}

// converse sends messages on one stream, and ends it.
func converse(ctx context.Context, client grpc_testing.TestServiceClient, m *messages) streamResult {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var r streamResult
	s, err := client.FullDuplexCall(ctx)
	for err == nil && m.more(r.Sent) {
		r.Sent++
		// An error of Send is io.EOF: the stream's own comes from Recv.
		_ = s.Send(&grpc_testing.StreamingOutputCallRequest{ResponseParameters: []*grpc_testing.ResponseParameters{{Size: 100}}})
		if _, err = s.Recv(); err == nil {
			r.Answered++
			time.Sleep(m.every)
		}
	}
	if err == nil {
		_ = s.CloseSend()
		if _, err = s.Recv(); errors.Is(err, io.EOF) {
			err = nil
		}
	}
	st := status.Convert(err)
	r.Code, r.Message = st.Code().String(), st.Message()
	return r
}
