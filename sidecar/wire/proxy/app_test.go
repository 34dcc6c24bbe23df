// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"errors"
	nethttp "net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
)

// args are charge(1: Request{3: string user}); a result is {0: string}, or {2: Failure{1:
// string message}}, the exception that charge declares.
type args struct{ user string }

func (a *args) Write(ctx context.Context, p thrift.TProtocol) error {
	return errors.Join(
		p.WriteStructBegin(ctx, "args"), p.WriteFieldBegin(ctx, "request", thrift.STRUCT, 1),
		p.WriteStructBegin(ctx, "Request"), p.WriteFieldBegin(ctx, "user", thrift.STRING, 3), p.WriteString(ctx, a.user), p.WriteFieldEnd(ctx),
		p.WriteFieldStop(ctx), p.WriteStructEnd(ctx), p.WriteFieldEnd(ctx), p.WriteFieldStop(ctx), p.WriteStructEnd(ctx))
}

func (a *args) Read(ctx context.Context, p thrift.TProtocol) error {
	return readText(ctx, p, func(path []int16, s string) {
		if len(path) == 2 && path[0] == 1 && path[1] == 3 {
			a.user = s
		}
	})
}

type result struct{ success, failure string }

func (r *result) Write(ctx context.Context, p thrift.TProtocol) error {
	return errors.Join(p.WriteStructBegin(ctx, "result"), p.WriteFieldBegin(ctx, "success", thrift.STRING, 0), p.WriteString(ctx, r.success),
		p.WriteFieldEnd(ctx), p.WriteFieldStop(ctx), p.WriteStructEnd(ctx))
}

func (r *result) Read(ctx context.Context, p thrift.TProtocol) error {
	return readText(ctx, p, func(path []int16, s string) {
		switch {
		case len(path) == 1 && path[0] == 0:
			r.success = s
		case len(path) == 2 && path[0] == 2 && path[1] == 1:
			r.failure = s
		}
	})
}

// readText reads a struct and calls yield with each string in it.
func readText(ctx context.Context, p thrift.TProtocol, yield func(path []int16, s string), path ...int16) error {
	if _, err := p.ReadStructBegin(ctx); err != nil {
		return err
	}
	for {
		_, kind, id, err := p.ReadFieldBegin(ctx)
		if err != nil || kind == thrift.STOP {
			return errors.Join(err, p.ReadStructEnd(ctx))
		}
		at := append(append([]int16(nil), path...), id)
		switch kind {
		case thrift.STRING:
			var s string
			s, err = p.ReadString(ctx)
			yield(at, s)
		case thrift.STRUCT:
			err = readText(ctx, p, yield, at...)
		default:
			err = p.Skip(ctx, kind)
		}
		if err = errors.Join(err, p.ReadFieldEnd(ctx)); err != nil {
			return err
		}
	}
}

// app answers every call with the method and the user, and note with nothing.
type app struct {
	mu   sync.Mutex
	seen []string
}

func (a *app) ProcessorMap() map[string]thrift.TProcessorFunction  { return nil }
func (a *app) AddToProcessorMap(string, thrift.TProcessorFunction) {}
func (a *app) Process(ctx context.Context, in, out thrift.TProtocol) (bool, thrift.TException) {
	name, _, seq, err := in.ReadMessageBegin(ctx)
	if err != nil {
		return false, thrift.WrapTException(err)
	}
	var got args
	if err := errors.Join(got.Read(ctx, in), in.ReadMessageEnd(ctx)); err != nil {
		return false, thrift.WrapTException(err)
	}
	_, method, multiplexed := strings.Cut(name, ":")
	if !multiplexed {
		method = name
	}
	a.mu.Lock()
	a.seen = append(a.seen, method+" "+got.user)
	a.mu.Unlock()
	if method == "note" {
		return true, nil
	}
	r := &result{success: method + " " + got.user}
	err = errors.Join(out.WriteMessageBegin(ctx, method, thrift.REPLY, seq), r.Write(ctx, out), out.WriteMessageEnd(ctx), out.Flush(ctx))
	return true, thrift.WrapTException(err)
}

func (a *app) reached() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.seen...)
}

// stack is a transport and a protocol of Apache's library.
type stack struct {
	transport, protocol string
	// service multiplexes.
	service string
}

func (s stack) String() string { return s.transport + " " + s.protocol + " " + s.service }

func (s stack) protocols() thrift.TProtocolFactory {
	conf := &thrift.TConfiguration{}
	switch {
	case s.transport == "header":
		id := thrift.THeaderProtocolBinary
		if s.protocol == "compact" {
			id = thrift.THeaderProtocolCompact
		}
		conf.THeaderProtocolID = &id
		return thrift.NewTHeaderProtocolFactoryConf(conf)
	case s.protocol == "compact":
		return thrift.NewTCompactProtocolFactoryConf(conf)
	case s.protocol == "json":
		return thrift.NewTJSONProtocolFactory()
	}
	return thrift.NewTBinaryProtocolFactoryConf(conf)
}

func (s stack) transports() thrift.TTransportFactory {
	switch s.transport {
	case "framed":
		return thrift.NewTFramedTransportFactoryConf(thrift.NewTTransportFactory(), &thrift.TConfiguration{})
	case "unframed":
		return thrift.NewTBufferedTransportFactory(8192)
	}
	return thrift.NewTTransportFactory()
}

// serve runs a and returns its address.
func (s stack) serve(t *testing.T, a *app) string {
	t.Helper()
	if s.transport == "http" {
		srv := httptest.NewServer(nethttp.HandlerFunc(thrift.NewThriftHandlerFunc(a, s.protocols(), s.protocols())))
		t.Cleanup(srv.Close)
		return srv.Listener.Addr().String()
	}
	socket, err := thrift.NewTServerSocket("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := socket.Listen(); err != nil {
		t.Fatal(err)
	}
	srv := thrift.NewTSimpleServer4(a, socket, s.transports(), s.protocols())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.AcceptLoop()
	}()
	t.Cleanup(func() {
		// Before Stop, which waits for ever for an Accept that begins after it.
		_ = socket.Close()
		<-done
		_ = srv.Stop()
	})
	return socket.Addr().String()
}

// dial returns a client of what listens at addr.
func (s stack) dial(t *testing.T, addr string) thrift.TClient {
	t.Helper()
	var transport thrift.TTransport
	var err error
	if s.transport == "http" {
		pool := &nethttp.Transport{}
		t.Cleanup(pool.CloseIdleConnections)
		transport, err = thrift.NewTHttpClientWithOptions("http://"+addr+"/", thrift.THttpClientOptions{Client: &nethttp.Client{Transport: pool, Timeout: time.Minute}})
	} else {
		socket := thrift.NewTSocketConf(addr, &thrift.TConfiguration{ConnectTimeout: time.Minute, SocketTimeout: time.Minute})
		transport, err = s.transports().GetTransport(socket)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := transport.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = transport.Close() })
	in := s.protocols().GetProtocol(transport)
	if s.service != "" {
		return thrift.NewTStandardClient(in, thrift.NewTMultiplexedProtocol(in, s.service))
	}
	return thrift.NewTStandardClient(in, in)
}
