// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/controllers/idl"
)

// answerer is a TProcessor that answers calls of one method with one value.
type answerer struct {
	model
	call string
	// outcome is the field of the result: 0, or that of an exception; -1: void.
	outcome int16
	typ     *snapshot.ThriftType
	value   any
	// got are the arguments of the last call.
	got chan modelStruct
}

func (a *answerer) Process(ctx context.Context, in, out thrift.TProtocol) (bool, thrift.TException) {
	name, _, seq, err := in.ReadMessageBegin(ctx)
	if err != nil {
		return false, thrift.WrapTException(err)
	}
	if name != a.call {
		x := thrift.NewTApplicationException(thrift.UNKNOWN_METHOD, "Unknown function "+name)
		_ = in.Skip(ctx, thrift.STRUCT)
		_ = out.WriteMessageBegin(ctx, name, thrift.EXCEPTION, seq)
		_ = x.Write(ctx, out)
		_ = out.WriteMessageEnd(ctx)
		_ = out.Flush(ctx)
		return false, x
	}
	got, err := a.readStruct(ctx, in, a.m.GetStructs()[a.m.GetMethods()[0].GetArguments()])
	if err != nil {
		return false, thrift.WrapTException(err)
	}
	a.got <- got
	if a.m.GetMethods()[0].GetOneway() {
		return true, nil
	}
	errs := []error{out.WriteMessageBegin(ctx, name, thrift.REPLY, seq), out.WriteStructBegin(ctx, "result")}
	if a.outcome >= 0 {
		errs = append(errs, out.WriteFieldBegin(ctx, "x", ttype(a.typ), a.outcome), a.write(ctx, out, a.typ, a.value), out.WriteFieldEnd(ctx))
	}
	errs = append(errs, out.WriteFieldStop(ctx), out.WriteStructEnd(ctx), out.WriteMessageEnd(ctx), out.Flush(ctx))
	if err := errors.Join(errs...); err != nil {
		return false, thrift.WrapTException(err)
	}
	return true, nil
}

func (a *answerer) ProcessorMap() map[string]thrift.TProcessorFunction  { return nil }
func (a *answerer) AddToProcessorMap(string, thrift.TProcessorFunction) {}

// serveThrift runs an apache/thrift server and returns its address.
func serveThrift(t *testing.T, p thrift.TProcessor, transport, protocol string) string {
	t.Helper()
	conf := &thrift.TConfiguration{}
	socket, err := thrift.NewTServerSocket("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := socket.Listen(); err != nil {
		t.Fatal(err)
	}
	var tf thrift.TTransportFactory = thrift.NewTBufferedTransportFactory(4096)
	var pf thrift.TProtocolFactory = thrift.NewTBinaryProtocolFactoryConf(conf)
	if protocol == "compact" {
		pf = thrift.NewTCompactProtocolFactoryConf(conf)
	}
	switch transport {
	case "framed":
		tf = thrift.NewTFramedTransportFactoryConf(thrift.NewTTransportFactory(), conf)
	case "header":
		// The client's header says the protocol.
		tf, pf = thrift.NewTTransportFactory(), thrift.NewTHeaderProtocolFactoryConf(conf)
	}
	server := thrift.NewTSimpleServer4(p, socket, tf, pf)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.AcceptLoop()
	}()
	t.Cleanup(func() {
		// Before Stop, which waits for ever for an Accept that begins after it.
		_ = socket.Close()
		<-done
		_ = server.Stop()
	})
	return socket.Addr().String()
}

func runThrift(t *testing.T, stdin string, args ...string) (stdout string, err error) {
	t.Helper()
	c := root()
	var out, errs bytes.Buffer
	c.SetArgs(append([]string{"thrift", "call"}, args...))
	c.SetIn(strings.NewReader(stdin))
	c.SetOut(&out)
	c.SetErr(&errs)
	err = c.ExecuteContext(t.Context())
	return out.String(), err
}

// mapped is a method of the shop.
func mapped(t *testing.T, method string) model {
	t.Helper()
	files, err := readIDL(shopIDL)
	if err != nil {
		t.Fatal(err)
	}
	m, found := idl.CompileMethod(idl.Source{Files: files, Main: filepath.Base(shopIDL)}, method)
	if m == nil {
		t.Fatal(found)
	}
	return model{m}
}

// named is a struct of a mapping.
func (d model) named(name string) *snapshot.ThriftType {
	for i, s := range d.m.GetStructs() {
		if s.GetName() == name {
			return &snapshot.ThriftType{Kind: kStruct, Index: uint32(i)}
		}
	}
	return nil
}

func TestThriftCall(t *testing.T) {
	charge, forget, clear, check := mapped(t, "Shop.charge"), mapped(t, "Shop.forget"), mapped(t, "Shop.clear"), mapped(t, "Shop.check")
	receipt := modelStruct{[]modelField{{1, "r<1>"}, {4, []byte("hi")}, {6, int64(840)}}}
	denied := modelStruct{[]modelField{{1, "no funds"}, {2, int64(402)}}}
	const chargeJSON = `{"req": {"userId": "7", "amount": "9007199254740993"}}`
	for name, test := range map[string]struct {
		answerer
		args              []string
		stdin             string
		want, wantFailure string
	}{
		"a struct": {
			answerer: answerer{model: charge, call: "charge", typ: charge.named("Receipt"), value: receipt},
			args:     []string{"Shop.charge", chargeJSON},
			want:     "{\n  \"id\": \"r<1>\",\n  \"blob\": \"aGk=\",\n  \"currency\": \"USD\",\n  \"names\": {\n    \"1\": \"one\"\n  }\n}\n",
		},
		"as JSON": {
			answerer: answerer{model: check, call: "check", typ: &snapshot.ThriftType{Kind: kBool}, value: true},
			args:     []string{"Shop.check", "-", "-o", "json"}, stdin: `{"either": {"number": 5}}`,
			want: "{\n  \"result\": true\n}\n",
		},
		"a declared exception": {
			answerer:    answerer{model: charge, call: "charge", outcome: 1, typ: charge.named("Denied"), value: denied},
			args:        []string{"Shop.charge", chargeJSON},
			wantFailure: `Shop.charge threw Denied: {"message":"no funds","code":402}`,
		},
		"a declared exception as JSON": {
			answerer: answerer{model: charge, call: "charge", outcome: 1, typ: charge.named("Denied"), value: denied},
			args:     []string{"Shop.charge", chargeJSON, "--output", "json"}, wantFailure: "threw Denied",
			want: "{\n  \"exception\": {\n    \"type\": \"Denied\",\n    \"value\": {\n      \"message\": \"no funds\",\n      \"code\": 402\n    }\n  }\n}\n",
		},
		"void": {
			answerer: answerer{model: clear, call: "clear", outcome: -1}, args: []string{"Shop.clear"}, want: "null\n",
		},
		"multiplexed": {
			answerer: answerer{model: clear, call: "Shop:clear", outcome: -1}, args: []string{"Shop.clear", "{}", "--multiplexed"}, want: "null\n",
		},
		"oneway": {
			answerer: answerer{model: forget, call: "forget"}, args: []string{"Shop.forget", `{"userId": "7"}`},
		},
		"a method that is not known": {
			answerer: answerer{model: clear, call: "other", outcome: -1}, args: []string{"Shop.clear"},
			wantFailure: "the application answers Shop.clear with TApplicationException 1: Unknown function clear",
		},
		"arguments that do not fit": {
			answerer: answerer{model: charge, call: "charge"}, args: []string{"Shop.charge", `{"req": {"userId": 7, "amount": 1}}`},
			wantFailure: "In the arguments, /req/userId is a number, not a string.",
		},
		"a method that the IDL does not have": {
			answerer: answerer{model: charge, call: "charge"}, args: []string{"Shop.chrage"},
			wantFailure: "shop.thrift: There is no method Shop.chrage; there are Shop.charge, Shop.check, Shop.clear, Shop.forget, Shop.latest, Shop.page, Shop.recent, Shop.upload.",
		},
	} {
		for _, transport := range []string{"framed", "buffered", "header"} {
			for _, protocol := range []string{"binary", "compact"} {
				t.Run(name+"/"+transport+"/"+protocol, func(t *testing.T) {
					a := test.answerer
					a.got = make(chan modelStruct, 1)
					addr := serveThrift(t, &a, transport, protocol)
					out, err := runThrift(t, test.stdin, append([]string{"--idl", shopIDL, "--addr", addr, "--transport", transport, "--protocol", protocol}, test.args...)...)
					if out != test.want {
						t.Errorf("it prints %q, want %q", out, test.want)
					}
					switch {
					case test.wantFailure == "" && err != nil:
						t.Errorf("it fails with %v", err)
					case test.wantFailure != "" && (err == nil || !strings.Contains(err.Error(), test.wantFailure)):
						t.Errorf("it fails with %v, want %s", err, test.wantFailure)
					}
					if name == "oneway" {
						select {
						case got := <-a.got:
							if len(got.fields) != 1 || got.fields[0].value != "7" {
								t.Errorf("the application got %v", got)
							}
						case <-time.After(20 * time.Second):
							t.Error("the application got nothing")
						}
					}
				})
			}
		}
	}
}

func TestThriftCallFlags(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	broken := filepath.Join(t.TempDir(), "broken.thrift")
	if err := os.WriteFile(broken, []byte("include 'gone.thrift'\nservice S { gone.X a() }"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no IDL":            {[]string{"--addr", "x:1", "S.a"}, "--idl is missing"},
		"no address":        {[]string{"--idl", shopIDL, "S.a"}, "--addr is missing"},
		"no such transport": {[]string{"--idl", shopIDL, "--addr", "x:1", "--transport", "http", "S.a"}, "--transport \"http\" is not framed, buffered or header"},
		"no such protocol":  {[]string{"--idl", shopIDL, "--addr", "x:1", "--protocol", "json", "S.a"}, "--protocol \"json\" is not binary or compact"},
		"no such output":    {[]string{"--idl", shopIDL, "--addr", "x:1", "-o", "yaml", "S.a"}, "--output \"yaml\" is not text or json"},
		"no time":           {[]string{"--idl", shopIDL, "--addr", "x:1", "--timeout", "0s", "S.a"}, "--timeout 0s is not above 0"},
		"no such file":      {[]string{"--idl", "gone.thrift", "--addr", "x:1", "S.a"}, "read the IDL: open gone.thrift"},
		"broken include":    {[]string{"--idl", broken, "--addr", "x:1", "S.a"}, "broken.thrift: The included file gone.thrift is not there"},
		"nobody answers":    {[]string{"--idl", shopIDL, "--addr", silent.Addr().String(), "--timeout", "50ms", "Shop.clear"}, "did not answer within 50ms"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := runThrift(t, "", test.args...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("it fails with %v, want %s", err, test.want)
			}
		})
	}
}
