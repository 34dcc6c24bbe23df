// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"context"
	"errors"
	"fmt"
	nethttp "net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	apache "github.com/apache/thrift/lib/go/thrift"
)

// text is a struct {id: string}, and any other.
type text struct {
	id    int16
	value string
	// exception: field 1 of a result, a struct {1: string}.
	exception string
}

func (s *text) Write(ctx context.Context, p apache.TProtocol) error {
	err := errors.Join(p.WriteStructBegin(ctx, "s"))
	if s.value != "" {
		err = errors.Join(err, p.WriteFieldBegin(ctx, "v", apache.STRING, s.id), p.WriteString(ctx, s.value), p.WriteFieldEnd(ctx))
	}
	if s.exception != "" {
		e := &text{id: 1, value: s.exception}
		err = errors.Join(err, p.WriteFieldBegin(ctx, "e", apache.STRUCT, 1), e.Write(ctx, p), p.WriteFieldEnd(ctx))
	}
	return errors.Join(err, p.WriteFieldStop(ctx), p.WriteStructEnd(ctx))
}

func (s *text) Read(ctx context.Context, p apache.TProtocol) error {
	if _, err := p.ReadStructBegin(ctx); err != nil {
		return err
	}
	for {
		_, kind, id, err := p.ReadFieldBegin(ctx)
		if err != nil || kind == apache.STOP {
			return errors.Join(err, p.ReadStructEnd(ctx))
		}
		switch {
		case kind == apache.STRING && id == s.id:
			s.value, err = p.ReadString(ctx)
		case kind == apache.STRUCT && id == 1:
			e := &text{id: 1}
			err = e.Read(ctx, p)
			s.exception = e.value
		default:
			err = p.Skip(ctx, kind)
		}
		if err = errors.Join(err, p.ReadFieldEnd(ctx)); err != nil {
			return err
		}
	}
}

// app is an application: echo, fail (a declared exception), boom (a
// TApplicationException), note (oneway), notes (what was noted), void.
type app struct {
	mu    sync.Mutex
	notes []string
	infos map[string]string
	calls int
}

func (a *app) ProcessorMap() map[string]apache.TProcessorFunction  { return nil }
func (a *app) AddToProcessorMap(string, apache.TProcessorFunction) {}
func (a *app) Process(ctx context.Context, in, out apache.TProtocol) (bool, apache.TException) {
	name, _, seq, err := in.ReadMessageBegin(ctx)
	if err != nil {
		return false, apache.WrapTException(err)
	}
	args := &text{id: 1}
	if err := errors.Join(args.Read(ctx, in), in.ReadMessageEnd(ctx)); err != nil {
		return false, apache.WrapTException(err)
	}
	a.mu.Lock()
	a.calls++
	if keys := apache.GetReadHeaderList(ctx); len(keys) > 0 {
		a.infos = map[string]string{}
		for _, key := range keys {
			a.infos[key], _ = apache.GetHeader(ctx, key)
		}
	}
	a.mu.Unlock()
	_, method, ok := strings.Cut(name, ":")
	if !ok {
		method = name
	}
	var result apache.TStruct
	reply := apache.REPLY
	switch method {
	case "echo":
		result = &text{id: 0, value: args.value}
	case "void":
		result = &text{}
	case "fail":
		result = &text{exception: "declared " + args.value}
	case "note":
		a.mu.Lock()
		a.notes = append(a.notes, args.value)
		a.mu.Unlock()
		return true, nil
	case "notes":
		a.mu.Lock()
		result = &text{id: 0, value: strings.Join(a.notes, ",")}
		a.mu.Unlock()
	default:
		code := int32(apache.INTERNAL_ERROR)
		if method != "boom" {
			code = apache.UNKNOWN_METHOD
		}
		e := apache.NewTApplicationException(code, "no "+method)
		err = errors.Join(out.WriteMessageBegin(ctx, method, apache.EXCEPTION, seq), e.Write(ctx, out), out.WriteMessageEnd(ctx), out.Flush(ctx))
		return true, apache.WrapTException(err)
	}
	err = errors.Join(out.WriteMessageBegin(ctx, method, reply, seq), result.Write(ctx, out), out.WriteMessageEnd(ctx), out.Flush(ctx))
	return true, apache.WrapTException(err)
}

// stack is a transport and a protocol of Apache's library.
type stack struct {
	transport, protocol string
	multiplexed         bool
}

func (s stack) String() string {
	if s.multiplexed {
		return s.transport + "/" + s.protocol + "/multiplexed"
	}
	return s.transport + "/" + s.protocol
}

func stacks() (all []stack) {
	for _, transport := range []string{"unframed", "framed", "http"} {
		for _, protocol := range []string{"binary", "compact", "json"} {
			all = append(all, stack{transport, protocol, false})
		}
	}
	for _, transport := range []string{"unframed", "framed"} {
		all = append(all, stack{transport, "lax", false})
	}
	for _, transport := range []string{"header", "zlib"} {
		for _, protocol := range []string{"binary", "compact"} {
			all = append(all, stack{transport, protocol, false})
		}
	}
	return append(all, stack{"framed", "binary", true}, stack{"unframed", "compact", true}, stack{"framed", "json", true}, stack{"framed", "compact", true})
}

func (s stack) protocols() apache.TProtocolFactory {
	yes, no := true, false
	id := apache.THeaderProtocolBinary
	if s.protocol == "compact" {
		id = apache.THeaderProtocolCompact
	}
	conf := &apache.TConfiguration{MaxMessageSize: 32 << 20, MaxFrameSize: 16_384_000, THeaderProtocolID: &id}
	switch {
	case s.transport == "zlib":
		conf.THeaderTransforms = []apache.THeaderTransformID{apache.TransformZlib}
		return apache.NewTHeaderProtocolFactoryConf(conf)
	case s.transport == "header":
		return apache.NewTHeaderProtocolFactoryConf(conf)
	case s.protocol == "compact":
		return apache.NewTCompactProtocolFactoryConf(conf)
	case s.protocol == "json":
		return apache.NewTJSONProtocolFactory()
	case s.protocol == "lax":
		conf.TBinaryStrictRead, conf.TBinaryStrictWrite = &no, &no
	default:
		conf.TBinaryStrictRead, conf.TBinaryStrictWrite = &yes, &yes
	}
	return apache.NewTBinaryProtocolFactoryConf(conf)
}

func (s stack) transports() apache.TTransportFactory {
	conf := &apache.TConfiguration{MaxMessageSize: 32 << 20, MaxFrameSize: 16_384_000}
	switch s.transport {
	case "framed":
		return apache.NewTFramedTransportFactoryConf(apache.NewTTransportFactory(), conf)
	case "unframed":
		return apache.NewTBufferedTransportFactory(8192)
	}
	return apache.NewTTransportFactory()
}

// serve runs a in this stack and returns its address.
func (s stack) serve(t testing.TB, a *app) string {
	t.Helper()
	if s.transport == "http" {
		p := s.protocols()
		srv := httptest.NewServer(nethttp.HandlerFunc(apache.NewThriftHandlerFunc(a, p, p)))
		t.Cleanup(srv.Close)
		return srv.Listener.Addr().String()
	}
	socket, err := apache.NewTServerSocket("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := socket.Listen(); err != nil {
		t.Fatal(err)
	}
	srv := apache.NewTSimpleServer4(a, socket, s.transports(), s.protocols())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve()
	}()
	t.Cleanup(func() {
		_ = srv.Stop()
		<-done
	})
	return socket.Addr().String()
}

// client is a client of a in this stack.
type client struct {
	*apache.TStandardClient
	transport apache.TTransport
}

func (s stack) client(t testing.TB, addr string) *client {
	t.Helper()
	var transport apache.TTransport
	var err error
	if s.transport == "http" {
		pool := &nethttp.Transport{}
		t.Cleanup(pool.CloseIdleConnections)
		transport, err = apache.NewTHttpClientWithOptions("http://"+addr+"/", apache.THttpClientOptions{Client: &nethttp.Client{Transport: pool, Timeout: 20 * time.Second}})
	} else {
		conf := &apache.TConfiguration{ConnectTimeout: 20 * time.Second, SocketTimeout: 20 * time.Second, MaxMessageSize: 32 << 20}
		transport, err = s.transports().GetTransport(apache.NewTSocketConf(addr, conf))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := transport.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = transport.Close() })
	p := s.protocols()
	c := &client{transport: transport}
	in := p.GetProtocol(transport)
	if s.multiplexed {
		c.TStandardClient = apache.NewTStandardClient(in, apache.NewTMultiplexedProtocol(in, "svc"))
	} else {
		c.TStandardClient = apache.NewTStandardClient(in, in)
	}
	return c
}

// call calls a method with its text and returns the result: a text, or why it is none.
func (c *client) call(ctx context.Context, method, value string) string {
	if method == "note" {
		if _, err := c.Call(ctx, method, &text{id: 1, value: value}, nil); err != nil {
			return fmt.Sprintf("error: %v", err)
		}
		return ""
	}
	result := &text{id: 0}
	_, err := c.Call(ctx, method, &text{id: 1, value: value}, result)
	var e apache.TApplicationException
	switch {
	case errors.As(err, &e):
		return fmt.Sprintf("exception %d: %s", e.TypeId(), e.Error())
	case err != nil:
		return fmt.Sprintf("error: %v", err)
	case result.exception != "":
		return "declared: " + result.exception
	}
	return result.value
}
