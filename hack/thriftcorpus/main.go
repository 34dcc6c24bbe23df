// SPDX-License-Identifier: Apache-2.0

// Command thriftcorpus writes messages with Apache Thrift's library for Go, a line for
// each: what it says, its transport, its protocol, its bytes in hex. Its siblings in
// other languages write the same messages; generate.sh runs them all.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/apache/thrift/lib/go/thrift"
)

// form is a transport and a protocol on top of it.
type form struct {
	transport, protocol string
	make                func(t thrift.TTransport) thrift.TProtocol
}

func header(id thrift.THeaderProtocolID, transforms ...thrift.THeaderTransformID) func(t thrift.TTransport) thrift.TProtocol {
	return func(t thrift.TTransport) thrift.TProtocol {
		p := thrift.NewTHeaderProtocolConf(t, &thrift.TConfiguration{THeaderProtocolID: &id, THeaderTransforms: transforms})
		p.SetWriteHeader("idempotency-key", "k-1")
		p.SetWriteHeader("x-client-id", "gold-co")
		return p
	}
}

func framed(p func(t thrift.TTransport) thrift.TProtocol) func(t thrift.TTransport) thrift.TProtocol {
	return func(t thrift.TTransport) thrift.TProtocol {
		return p(thrift.NewTFramedTransportConf(t, nil))
	}
}

func forms() []form {
	yes, no := true, false
	binary := func(t thrift.TTransport) thrift.TProtocol {
		return thrift.NewTBinaryProtocolConf(t, &thrift.TConfiguration{TBinaryStrictRead: &yes, TBinaryStrictWrite: &yes})
	}
	lax := func(t thrift.TTransport) thrift.TProtocol {
		return thrift.NewTBinaryProtocolConf(t, &thrift.TConfiguration{TBinaryStrictRead: &no, TBinaryStrictWrite: &no})
	}
	compact := func(t thrift.TTransport) thrift.TProtocol { return thrift.NewTCompactProtocolConf(t, nil) }
	json := func(t thrift.TTransport) thrift.TProtocol { return thrift.NewTJSONProtocol(t) }
	return []form{
		{"unframed", "binary", binary}, {"framed", "binary", framed(binary)},
		{"unframed", "lax", lax}, {"framed", "lax", framed(lax)},
		{"unframed", "compact", compact}, {"framed", "compact", framed(compact)},
		{"unframed", "json", json}, {"framed", "json", framed(json)},
		{"header", "binary", header(thrift.THeaderProtocolBinary)}, {"header", "compact", header(thrift.THeaderProtocolCompact)},
		{"header-zlib", "binary", header(thrift.THeaderProtocolBinary, thrift.TransformZlib)},
		{"header-zlib", "compact", header(thrift.THeaderProtocolCompact, thrift.TransformZlib)},
	}
}

func main() {
	ctx := context.Background()
	for _, f := range forms() {
		for _, m := range messages() {
			buf := thrift.NewTMemoryBuffer()
			w := &writer{ctx: ctx, p: f.make(buf)}
			w.check(w.p.WriteMessageBegin(ctx, m.name, m.kind, m.seq))
			m.body(w)
			w.check(w.p.WriteMessageEnd(ctx))
			w.check(w.p.Flush(ctx))
			if w.err != nil {
				fmt.Fprintln(os.Stderr, "thriftcorpus:", m.says, f.transport, f.protocol, w.err)
				os.Exit(1)
			}
			fmt.Printf("%s %s %s %x\n", m.says, f.transport, f.protocol, buf.Bytes())
		}
	}
}
