// SPDX-License-Identifier: Apache-2.0

// Command kitex writes calls and replies behind TTHeader with the library that Kitex
// does it with, a line for each: what it says, its transport, its protocol, its bytes in
// hex. It is a module of its own, for nothing else needs that library.
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/gopkg/protocol/ttheader"
)

func main() {
	for _, nested := range []bool{false, true} {
		for _, m := range []struct {
			says  string
			kind  thrift.TMessageType
			field int16
		}{{"call", thrift.CALL, 1}, {"oneway", thrift.ONEWAY, 1}, {"reply", thrift.REPLY, 0}, {"reply-declared", thrift.REPLY, 1}} {
			var p thrift.BinaryProtocol
			b := p.AppendMessageBegin(nil, "Pay", m.kind, 7)
			b = p.AppendFieldBegin(b, thrift.STRING, m.field)
			b = p.AppendString(b, "hello")
			b = p.AppendFieldStop(b)
			transport := "ttheader"
			if nested {
				transport = "ttheader-framed"
				b = append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
			}
			head, err := ttheader.EncodeToBytes(context.Background(), ttheader.EncodeParam{
				Flags: ttheader.HeaderFlagSupportOutOfOrder, SeqID: 7, ProtocolID: ttheader.ProtocolIDThriftBinary,
				IntInfo: map[uint16]string{ttheader.FromService: "checkout", ttheader.ToService: "pay", ttheader.ToMethod: "Pay"},
				StrInfo: map[string]string{"idempotency-key": "k-1", ttheader.HeaderIDLServiceName: "Payments", ttheader.GDPRToken: "secret"},
			})
			if err != nil {
				fmt.Fprintln(os.Stderr, "kitex:", err)
				os.Exit(1)
			}
			// Its length is that of what follows it.
			binary.BigEndian.PutUint32(head, uint32(len(head)-4+len(b)))
			fmt.Printf("%s %s binary %x%x\n", m.says, transport, head, b)
		}
	}
}
