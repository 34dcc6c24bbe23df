// SPDX-License-Identifier: Apache-2.0

//go:build crosstest

// Command gopeer is Apache Thrift's cross-test in Go, whose sources its module does not
// hold: ThriftTest with Apache's library and the code that its compiler generates. It is
// built with a -overlay that has that code (hack/conformance/thrift.sh).
//
//	gopeer serve  --protocol P --transport T    prints its address
//	gopeer call   --protocol P --transport T --addr A
//
// A test that fails is a line `FAIL name: why` of the output; the exit code is 1 then.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/apache/thrift/lib/go/thrift"

	"weir.dev/weir/test/conformance/thrift/testdata/gopeer/thrifttest"
)

// form is what a connection speaks.
type form struct {
	protocol, transport string
	multiplexed         bool
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gopeer:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("say serve or call")
	}
	flags := flag.NewFlagSet("gopeer", flag.ExitOnError)
	protocol := flags.String("protocol", "binary", "binary, compact, json or header; multi, multic, multij or multih")
	transport := flags.String("transport", "buffered", "buffered, framed or http")
	addr := flags.String("addr", "127.0.0.1:0", "where to listen, or whom to call")
	_ = flags.Parse(args[1:])
	f := form{protocol: *protocol, transport: *transport}
	if rest, ok := strings.CutPrefix(f.protocol, "multi"); ok {
		f.multiplexed = true
		f.protocol = map[string]string{"": "binary", "c": "compact", "j": "json", "h": "header"}[rest]
	}
	if args[0] == "serve" {
		return serve(f, *addr)
	}
	return call(context.Background(), f, *addr)
}

// protocols is the factory of the protocol.
func (f form) protocols() (thrift.TProtocolFactory, error) {
	switch f.protocol {
	case "binary":
		return thrift.NewTBinaryProtocolFactoryConf(nil), nil
	case "compact":
		return thrift.NewTCompactProtocolFactoryConf(nil), nil
	case "json":
		return thrift.NewTJSONProtocolFactory(), nil
	case "header":
		return thrift.NewTHeaderProtocolFactoryConf(nil), nil
	}
	return nil, fmt.Errorf("protocol %q is not known", f.protocol)
}

// transports is the factory of what is around a socket.
func (f form) transports() thrift.TTransportFactory {
	if f.transport == "framed" {
		return thrift.NewTFramedTransportFactoryConf(thrift.NewTTransportFactory(), nil)
	}
	return thrift.NewTBufferedTransportFactory(8192)
}

func serve(f form, addr string) error {
	protocols, err := f.protocols()
	if err != nil {
		return err
	}
	var processor thrift.TProcessor = thrifttest.NewThriftTestProcessor(handler{})
	if f.multiplexed {
		m := thrift.NewTMultiplexedProcessor()
		m.RegisterDefault(processor)
		m.RegisterProcessor("ThriftTest", processor)
		m.RegisterProcessor("SecondService", thrifttest.NewSecondServiceProcessor(handler{}))
		processor = m
	}
	if f.transport == "http" {
		return serveHTTP(addr, thrift.NewThriftHandlerFunc(processor, protocols, protocols))
	}
	socket, err := thrift.NewTServerSocketTimeout(addr, 0)
	if err != nil {
		return err
	}
	if err := socket.Listen(); err != nil {
		return err
	}
	fmt.Println(socket.Addr())
	return thrift.NewTSimpleServer4(processor, socket, f.transports(), protocols).Serve()
}

func serveHTTP(addr string, h http.HandlerFunc) error {
	ln, err := listen(addr)
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	return http.Serve(ln, h)
}
